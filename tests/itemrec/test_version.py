"""One place says the version, and everything else agrees with it."""

import subprocess
import sys
import tomllib
from importlib.metadata import metadata

import pytest

import itemrec
from cli.main import invoke
from tests.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_written_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["hatch"]["version"] == {"path": "itemrec/__init__.py"}
    assert metadata("itemrec")["Version"] == itemrec.__version__, "installed before the version changed: make install"
    assert invoke(["--version"]) == 0
    assert capsys.readouterr().out == f"itemrec {itemrec.__version__}\n"


def test_the_version_is_said_without_reading_metadata() -> None:
    code = "import sys; from cli.main import invoke; invoke(['--version']); print('importlib.metadata' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[1:] == ["False"]


def test_the_versions_of_python_agree() -> None:
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    classified = [c.rpartition(" ")[2] for c in PROJECT["project"]["classifiers"] if ":: Python :: 3." in c]
    assert classified[0] == lowest
    assert PROJECT["tool"]["mypy"]["python_version"] == lowest
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"
    guide = (ROOT / "docs" / "guides" / "install.md").read_text(encoding="utf-8")
    assert f"Python {lowest} to {classified[-1]}" in guide


def test_every_extra_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guides" / "install.md").read_text(encoding="utf-8")
    for extra in set(PROJECT["project"]["optional-dependencies"]) - {"dev", "bench"}:
        assert f"| `{extra}` |" in guide, extra
