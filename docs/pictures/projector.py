"""Take docs/pictures/projector.png: TensorBoard's page with the demo's drawn products in space; needs Chromium.

PYTHONPATH=. python docs/pictures/projector.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from retrieval.models.installed import resolve_model
from tests.browser.board import tensorboard
from tests.browser.chromium import screenshot
from trainer.projector.write import project_bundle
from trainer.synthetic import write_demo


def main() -> None:
    """Draw, embed with the starter, project, look."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = write_demo(Path(folder)).catalog
        project_bundle(resolve_model(None, index_model=None), catalog, Path(folder) / "run")
        with tensorboard(Path(folder) / "run") as address:
            page = screenshot(f"{address}/#projector", size=(1280, 860))
    page.resize((960, 645)).quantize(128).save(Path(__file__).with_name("projector.png"), optimize=True)


if __name__ == "__main__":
    main()
