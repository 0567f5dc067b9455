"""Are `retrieval`, `trainer` and `cli` itemrec's own, or does another package of that name hide them?

The three names are plain words: a project may have a `cli/` of its own. What is wrong is found without running a line
of the other package, and before anything of ours is imported.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

SIBLINGS = ("retrieval", "trainer", "cli")


def require(*names: str) -> None:
    """Make sure that these siblings are itemrec's own.

    Args:
        names: of `SIBLINGS`.

    Raises:
        ImportError: one is missing, or another package hides it; the message is one line and says what to do.
    """
    for name in names:
        if wrong := fault(name):
            raise ImportError(wrong, name=name)


def fault(name: str) -> str:
    """What is wrong with a sibling, in one line; empty if it is itemrec's own.

    Args:
        name: one of `SIBLINGS`.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    own = os.path.join(home, name)
    found = _found(name)
    if found is None:
        return _line(f"itemrec's package `{name}` is missing at {own}. Install itemrec again.")
    if os.path.realpath(found) == os.path.realpath(own):
        return ""
    entry = os.path.dirname(found)
    return _line(f"another package named `{name}`, at {found}, hides itemrec's own at {own}. {_cure(name, entry)}")


def _found(name: str) -> str | None:
    """Where Python finds the package, as a path: its directory, or its file if it is a single module."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module that somebody made by hand and put into `sys.modules`
        return f"sys.modules[{name!r}]"
    if spec is None:
        return None
    if spec.origin is not None:
        folder, file = os.path.split(spec.origin)
        return folder if os.path.splitext(file)[0] == "__init__" else spec.origin
    # A folder without __init__.py only counts where there is no package of that name anywhere on the path.
    return next(iter(spec.submodule_search_locations or ()), None)


def _cure(name: str, entry: str) -> str:
    given = [os.path.realpath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    if os.path.realpath(entry) in given:
        return f"Take {entry} off PYTHONPATH, or rename that package."
    if os.path.realpath(entry) == os.path.realpath(os.getcwd()):
        return "Start itemrec in another folder, or rename that package."
    if os.path.realpath(entry) == os.path.realpath(os.path.dirname(os.path.abspath(sys.argv[0] if sys.argv else ""))):
        return "Rename that package, or move your program away from it."
    return "Rename or uninstall that package, or install itemrec into an environment of its own."


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
