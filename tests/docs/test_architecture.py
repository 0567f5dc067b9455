"""The plan of the house says what is: the picture is of these imports, rooms and named functions exist."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import itemrec
from tests.places import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SCRIPT = ROOT / "docs" / "pictures" / "rooms.py"
PICTURE = SCRIPT.with_suffix(".svg")
DOTTED = re.compile(r"`((?:cli|itemrec|retrieval|trainer)(?:\.\w+)+)`")


def drawn(hash_seed: str) -> str:
    code = f"import runpy; print(runpy.run_path({str(SCRIPT)!r})['draw'](), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_picture_is_of_these_imports_in_every_process() -> None:
    for hash_seed in ("1", "2"):
        assert drawn(hash_seed) == PICTURE.read_text(encoding="utf-8"), "rooms or imports changed: make architecture"


def test_every_room_is_on_the_page() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE, flags=re.MULTILINE)
    for package in ("retrieval", "trainer"):
        for place in sorted((ROOT / package).iterdir()):
            if (place / "__init__.py").is_file():
                assert f"{package}/{place.name}/" in rows
            elif place.suffix == ".py" and place.name != "__init__.py":
                assert {f"{package}/{place.name}", f"{package}/*.py"} & set(rows), place.name
    for row in rows:
        assert list(ROOT.glob(row.rstrip("/"))), row


def exists(dotted: str) -> bool:
    """Whether a module, or something defined in one, has this name; nothing is imported."""
    parts = dotted.split(".")
    if parts[0] == "itemrec" and parts[1] in itemrec.__all__:
        return len(parts) == 2
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.is_file():
            return defined(ast.parse(file.read_text(encoding="utf-8")), parts[length:])
    return False


def defined(node: ast.AST, names: list[str]) -> bool:
    if not names:
        return True
    kinds = (ast.FunctionDef, ast.ClassDef)
    below = (child for child in ast.iter_child_nodes(node) if isinstance(child, kinds) and child.name == names[0])
    return any(defined(child, names[1:]) for child in below)


@pytest.mark.parametrize("name", sorted(set(DOTTED.findall(PAGE + GUIDE))))
def test_what_the_walks_name_exists(name: str) -> None:
    assert exists(name)


def test_a_name_that_does_not_exist_is_noticed() -> None:
    assert exists("retrieval.index.embedded.store.EmbeddedStore.search")
    assert not exists("retrieval.index.embedded.store.EmbeddedStore.find_it")
    assert not exists("retrieval.nothing.here")
    assert "retrieval.recognition.votes.rank" in DOTTED.findall(PAGE)


def test_what_contributors_are_sent_to_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`?make ([a-z-]+)", GUIDE)) | set(re.findall(r"`make ([a-z-]+)", PAGE))
    assert {"test", "check"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"make {target}"
    paths = [p for p in re.findall(r"`([\w.]+(?:/[\w.*-]*)+)`", GUIDE) if not p.startswith(".venv")]
    assert len(paths) > 10
    for path in paths:
        assert list(Path(ROOT).glob(path.rstrip("/"))), path
