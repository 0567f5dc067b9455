"""Small pictures in a terminal: the photo beside the catalog pictures it resembles.

Kitty's and Sixel's picture protocols are used where the terminal speaks them, colored
half blocks elsewhere (textual-image decides by asking the terminal).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from retrieval.errors import ImageError
from retrieval.images.pictures import read_file, thumbnail

_COLUMNS = 20
_PIXELS = 256


def show(photo: Callable[[], bytes], pictures: Sequence[Path]) -> None:
    """Print the photo, an arrow, and as many catalog pictures as the terminal is wide.

    Pictures that cannot be read any more (the catalog moved) are left out: they are decoration.
    """
    from rich.console import Console
    from rich.table import Table
    from textual_image.renderable import Image

    console = Console()
    grid = Table.grid(padding=(0, 2))
    cells: list[object] = []
    room = max(1, (console.width - 4) // (_COLUMNS + 2) - 1)
    for read in [photo, *[_reader(p) for p in pictures[:room]]]:
        try:
            cells.append(Image(thumbnail(read(), _PIXELS), width=_COLUMNS, height="auto"))
        except ImageError:
            continue
        if len(cells) == 1:
            cells.append("→")
    if len(cells) < 3:
        return
    for _ in cells:
        grid.add_column(vertical="middle")
    grid.add_row(*cells)  # type: ignore[arg-type]
    console.print(grid)


def _reader(path: Path) -> Callable[[], bytes]:
    return lambda: read_file(path)
