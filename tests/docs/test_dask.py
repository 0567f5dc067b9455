"""The Dask recipe of docs/guides/scale.md, as it stands there, with its LocalCluster on a small catalog."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.index.server import ServerIndex
from tests.fakes import write_catalog
from tests.places import ROOT
from tests.qdrant import double


def test_the_dask_recipe_indexes_a_catalog(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/scale.md").read_text(encoding="utf-8"), re.DOTALL)
    (recipe,) = (block for block in blocks if "LocalCluster" in block)
    catalog = write_catalog(tmp_path / "catalog", products=12, views=3)
    with double.serving() as server:
        url = server.url("/dask")
        # Two cores need not start eight processes for 36 pictures, but more than one.
        changed = {
            "/catalog": str(catalog),
            "http://qdrant:6333/shop": url,
            "range(1, 9), count=8": "range(1, 3), count=2",
        }
        for old, new in changed.items():
            assert old in recipe
            recipe = recipe.replace(old, new)
        script = tmp_path / "recipe.py"
        script.write_text(recipe.replace("n_workers=4", "n_workers=2"), encoding="utf-8")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        run = subprocess.run(
            [sys.executable, str(script)],
            env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "ITEMREC_GRPC_PORT": "0"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert run.returncode == 0, run.stderr
        manifest = ServerIndex(url).manifest()
    assert manifest is not None
    assert (manifest.images, manifest.products) == (36, 12)
