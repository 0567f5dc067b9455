"""The tree's own imports, read from the code: no circle anywhere, not even inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT

PACKAGES = ("itemrec", "retrieval", "trainer", "cli")


def module_name(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path, modules: set[str]) -> Iterator[str]:
    """Modules of the tree that a file imports: at its top, inside functions, and for types alone."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                target = whole if whole in modules else node.module
                if target in modules:
                    yield target


def graph(root: Path) -> dict[str, set[str]]:
    files = {module_name(f, root): f for package in PACKAGES for f in (root / package).rglob("*.py")}
    return {name: set(imported(file, set(files))) - {name} for name, file in files.items()}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected parts of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(arrows[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return found


def test_no_module_imports_itself_by_a_detour() -> None:
    arrows = graph(ROOT)
    assert len(arrows) > 150
    assert circles(arrows) == []


@pytest.mark.parametrize(
    "line", ["from retrieval.b import x", "def f():\n    import retrieval.b", "def f():\n    from retrieval import b"]
)
def test_a_circle_is_seen_wherever_it_hides(tmp_path: Path, line: str) -> None:
    (tmp_path / "retrieval").mkdir()
    (tmp_path / "retrieval" / "__init__.py").touch()
    (tmp_path / "retrieval" / "a.py").write_text(line)
    (tmp_path / "retrieval" / "b.py").write_text("from retrieval.a import y")
    assert circles(graph(tmp_path)) == [["retrieval.a", "retrieval.b"]]


SAME_THING = {
    "__main__": "what `python -m` runs",
    "audit": "a command and what it does",
    "base": "what the other files of a room stand on",
    "build": "a generation being built: in a directory, on a server",
    "calibrate": "a threshold is chosen: the command, the choice, the starter's",
    "card": "the card of a bundle: of any training, of the starter",
    "confidence": "how sure an answer is: the fit, and the section that measures it",
    "demo": "a command and what it does",
    "doctor": "a command and what it does",
    "errors": "the errors of a room",
    "evaluate": "a command and what it does",
    "inbox": "photos that were asked about: a command, and the folder that keeps them",
    "index": "a command, and the index in a directory and on a server",
    "layout": "a collection's layout: what is chosen, and the options that choose it",
    "open": "opens what its room holds, of whatever kind it is",
    "refusals": "pictures of what is not ours: kept in a directory, on a server, seen by a model, measured",
    "pairs": "VAL and FAR over all pairs: the measure, and the section that tells it",
    "plan": "what a run has to do, decided before anything is written",
    "progress": "how far a job is: the protocol, what trainings add, the view in a terminal",
    "report": "what a run did",
    "run": "a whole job in one call",
    "store": "one generation, in a directory and on a server",
    "train": "a command and what it does",
    "types": "the data that travels through a part",
}
"""File names that occur more than once, and the one thing that each stands for."""


def test_a_file_name_stands_for_one_thing() -> None:
    files = [f for package in PACKAGES for f in (ROOT / package).rglob("*.py") if f.name != "__init__.py"]
    names = [file.stem for file in files]
    assert {name for name in names if names.count(name) > 1} <= set(SAME_THING)
