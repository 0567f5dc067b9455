"""The command's entrance and the library's: foreign packages in the place of ours, and what is not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from itemrec import _siblings
from tests.places import ROOT

SCRIPT = "import sys; sys.argv[0] = '/opt/bin/itemrec'; from itemrec.__main__ import main; sys.exit(main())"
ENTRANCES = {"module": ["-m", "itemrec"], "script": ["-c", SCRIPT]}


def start(
    words: list[str], *path: Path, cwd: Path, program: Path | str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """A new Python that finds these directories before itemrec's own."""
    return subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))},
    )


def foreign(folder: Path, name: str, kind: str = "package") -> Path:
    """A package or module of somebody else that says so when it is run."""
    file = folder / name / "__init__.py" if kind == "package" else folder / f"{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("print('the foreign package runs')\n", encoding="utf-8")
    return file.parent if kind == "package" else file


@pytest.mark.parametrize("kind", ["package", "module"])
@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("name", _siblings.SIBLINGS)
def test_a_foreign_package_is_one_line(name: str, entrance: str, kind: str, tmp_path: Path) -> None:
    found = foreign(tmp_path / "theirs", name, kind)
    done = start([*ENTRANCES[entrance], "--version"], tmp_path / "theirs", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"itemrec: error: another package named `{name}`, at {found}, hides ")
    assert f"Take {tmp_path / 'theirs'} off PYTHONPATH" in line


def test_a_foreign_package_in_the_working_directory_is_one_line(tmp_path: Path) -> None:
    foreign(tmp_path, "cli")
    done = start(["-m", "itemrec", "--version"], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith("Start itemrec in another folder, or rename that package.")


def test_a_folder_without_init_hides_nothing(tmp_path: Path) -> None:
    for name in _siblings.SIBLINGS:
        (tmp_path / name).mkdir()
    done = start(["-m", "itemrec", "--version"], tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("itemrec ")


def test_the_library_refuses_a_foreign_retrieval_without_running_it(tmp_path: Path) -> None:
    foreign(tmp_path, "retrieval")
    done = start(["-c", "import itemrec"], tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: another package named `retrieval`, at {tmp_path / 'retrieval'}, hides ")


def test_a_program_may_have_a_trainer_and_a_cli_of_its_own(tmp_path: Path) -> None:
    for name in ("trainer", "cli"):
        foreign(tmp_path, name)
    code = (
        "import itemrec\nprint(itemrec.Recognizer.__name__)\n"
        "try: itemrec.train\nexcept ImportError as error: print(error.name, str(error).count('another package'))"
    )
    done = start(["-c", code], tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Recognizer\ntrainer 1\n", "")


def test_a_sibling_that_is_gone_or_made_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_siblings, "find_spec", lambda _: None)
    assert _siblings.fault("trainer").startswith("itemrec's package `trainer` is missing at ")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "trainer", type(sys)("trainer"))
    assert "sys.modules['trainer']" in _siblings.fault("trainer")


def test_a_missing_dependency_of_the_command_line_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')\n")
    done = start(["-m", "itemrec", "--version"], tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "itemrec: error: the Python package typer is not installed. Install itemrec again, with what it depends on.\n"
    )


def test_nothing_of_others_is_imported_before_the_siblings_are_known_to_be_ours() -> None:
    code = "import sys; before = set(sys.modules); import itemrec.__main__; print(*sorted(set(sys.modules) - before))"
    done = start(["-c", code], cwd=ROOT)
    packages = {module.partition(".")[0] for module in done.stdout.split()}
    assert packages - sys.stdlib_module_names == {"itemrec"}
