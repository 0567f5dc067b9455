"""Scripts that no other test runs: what they import exists, and no file hides an installed module."""

import ast
import importlib.util
from pathlib import Path

import pytest

from tests.places import ROOT

BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.py"))
OURS = ("benchmarks", "cli", "itemrec", "retrieval", "tests", "trainer")


def names_in(module: Path) -> set[str]:
    """What a module's text defines or imports at its top level."""
    found: set[str] = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        for inner in ast.walk(node) if isinstance(node, ast.If | ast.Try) else (node,):
            if isinstance(inner, ast.FunctionDef | ast.ClassDef):
                found.add(inner.name)
            elif isinstance(inner, ast.Import | ast.ImportFrom):
                found |= {(alias.asname or alias.name).split(".")[0] for alias in inner.names}
            elif isinstance(inner, ast.Assign | ast.AnnAssign):
                targets = inner.targets if isinstance(inner, ast.Assign) else [inner.target]
                found |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    return found


def file_of(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


@pytest.mark.parametrize("benchmark", [*BENCHMARKS, *PICTURES], ids=lambda p: p.stem)
def test_what_a_benchmark_imports_from_this_repository_exists(benchmark: Path) -> None:
    for node in ast.walk(ast.parse(benchmark.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        module = f"benchmarks.{node.module}" if (ROOT / "benchmarks" / f"{node.module}.py").is_file() else node.module
        if module.split(".")[0] not in OURS:
            continue
        file = ROOT / f"{module.replace('.', '/')}.py" if module.startswith("benchmarks.") else file_of(module)
        for alias in node.names:
            if file_of(f"{module}.{alias.name}") is not None:
                continue
            assert file is not None, f"{benchmark.name}: no {module}"
            names = names_in(file)
            assert {alias.name, "__getattr__"} & names, f"{benchmark.name}: {module} has no {alias.name}"


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda p: p.stem)
def test_a_benchmark_hides_no_installed_module(benchmark: Path) -> None:
    # A script's own folder comes first on the path: a benchmark named like a package would be imported in its place.
    spec = importlib.util.find_spec(benchmark.stem)
    assert spec is None or (spec.origin is not None and "benchmarks" in spec.origin), f"{benchmark.name} hides {spec}"
