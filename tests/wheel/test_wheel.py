"""What users install: the archive of the source, the wheel made of it, and that wheel alone in an empty environment."""

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

import pytest

import itemrec
from tests.fakes import write_catalog
from tests.places import ROOT

pytest.importorskip("hatchling")

EXAMPLE = ROOT / "docs" / "examples" / "recognize.py"
FIVE_LINES = """
import itemrec
itemrec.index("itemrec-demo/catalog", "shop.index")
with itemrec.Recognizer("shop.index") as shop:
    answer = shop.recognize(PHOTO, top=5)
print(answer.verdict, [m.product_id for m in answer.matches])
"""
NO_NETWORK = ("Retrying (", "NewConnectionError", "name resolution", "Network is unreachable", "ConnectTimeout")
HEAVY = {"tensorflow", "keras", "torch", "jax", "matplotlib", "onnxruntime", "qdrant_client", "textual_image"}


def run(*command: str | Path, cwd: Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """A command in an environment that knows nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ITEMREC", "VIRTUAL"))}
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, check=False)
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def build(target: str, source: Path, out: Path) -> Path:
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out, cwd=source)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the archive, as an installer does: what the archive lacks is missing here, too."""
    folder = tmp_path_factory.mktemp("source")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and an empty directory in which the demo was run."""

    python: Path
    itemrec: Path
    folder: Path
    demo: str


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place, folder = tmp_path_factory.mktemp("env"), tmp_path_factory.mktemp("empty")
    venv.create(place, with_pip=False, symlinks=os.name != "nt")
    scripts = place / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", str(wheel)]
    done = run(*pip, cwd=folder, code=None)
    if done.returncode and any(sign in done.stderr for sign in NO_NETWORK):
        pytest.skip("there is no network to install the wheel's dependencies from")
    assert done.returncode == 0, done.stderr
    demo = run(scripts / "itemrec", "demo", cwd=folder)
    return Installed(python, scripts / "itemrec", folder, demo.stdout + demo.stderr)


def test_the_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        texts = {name: archive.read(name) for name in names if name.endswith("METADATA")}
    wanted = {
        "itemrec/py.typed",
        "retrieval/py.typed",
        "trainer/py.typed",
        "retrieval/report/page.css",
        "retrieval/starter/CARD.md",
        "retrieval/starter/bundle.json",
        "retrieval/starter/encoder.tflite",
    }
    assert wanted <= names
    info = f"itemrec-{itemrec.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"itemrec", "retrieval", "trainer", "cli", info}
    here = {
        str(path.relative_to(ROOT))
        for package in ("itemrec", "retrieval", "trainer", "cli")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == here
    (text,) = texts.values()
    metadata = HeaderParser().parsestr(text.decode("utf-8"))
    assert metadata["Version"] == itemrec.__version__
    assert {"onnx", "report", "server", "thumbnails", "train"} <= set(metadata.get_all("Provides-Extra") or ())
    base = [line for line in metadata.get_all("Requires-Dist") or () if "extra ==" not in line]
    assert not [line for line in base if re.match("textual|tensorflow|keras|onnx|qdrant-client|matplotlib", line)]


def test_the_archive_holds_what_developers_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", ".pre-commit-config.yaml"}
    assert wanted <= names
    assert {"tests/conftest.py", "docs/architecture.md", "benchmarks/cold.py", "deploy/Dockerfile"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", ".git/", "dist"))]


def test_without_extras_nothing_heavy_is_installed(installed: Installed) -> None:
    code = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    assert run(installed.python, "-c", code, *sorted(HEAVY), cwd=installed.folder).stdout == "[]\n"


def test_the_demo_runs_and_its_next_commands_run_as_printed(installed: Installed) -> None:
    assert "of 12 photos of catalog products" in installed.demo
    after = installed.demo[installed.demo.index("Next:") :].splitlines()[1:]
    commands = [re.split(r"\s{2,}", line.strip())[0] for line in after]
    assert len(commands) >= 3
    for command in commands:
        done = run("/bin/sh", "-c", command, cwd=installed.folder, code=None)
        assert done.returncode in (0, 1), f"{command}: {done.stderr}"
        assert "error" not in done.stderr


def test_five_lines_recognize(installed: Installed) -> None:
    photo = sorted((installed.folder / "itemrec-demo" / "photos" / "known").iterdir())[0]
    loaded = f"import sys; print(sorted({HEAVY!r} & set(sys.modules)), itemrec.__file__)"
    done = run(installed.python, "-c", FIVE_LINES.replace("PHOTO", repr(str(photo))) + loaded, cwd=installed.folder)
    answer, modules = done.stdout.splitlines()
    assert re.fullmatch(r"(match|ambiguous) \['.*'\]", answer)
    assert modules.startswith("[] ")
    assert str(installed.python.parents[1]) in modules
    assert done.stderr == ""


def test_the_example_runs_and_a_strict_type_checker_accepts_it(installed: Installed) -> None:
    photos = sorted(map(str, (installed.folder / "itemrec-demo" / "photos").rglob("*.jpg")))[:3]
    done = run(installed.python, EXAMPLE, "itemrec-demo/catalog", *photos, cwd=installed.folder)
    assert done.stdout.startswith("240 pictures\n")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed.python, "--cache-dir", "cache"]
    # One run for both: it reads the types of everything that is imported, which takes longest.
    (installed.folder / "wrong.py").write_text("import itemrec\nitemrec.Recognizer(3).recognize('a', top='b')\n")
    checked = run(*mypy, EXAMPLE, "wrong.py", cwd=installed.folder, code=1).stdout
    *wrong, summary = checked.splitlines()
    assert [line.startswith("wrong.py:") and line.endswith("[arg-type]") for line in wrong] == [True] * 2, checked
    assert summary == "Found 2 errors in 1 file (checked 2 source files)"


def test_the_command_says_its_version_and_what_it_lacks(installed: Installed) -> None:
    for command in ([installed.itemrec], [installed.python, "-m", "itemrec"]):
        said = run(*command, "--version", cwd=installed.folder).stdout
        assert said == f"itemrec {itemrec.__version__}\n"
    for split, views in (("train", 4), ("val", 2)):
        write_catalog(installed.folder / "data" / split, products=3, views=views)
    done = run(installed.itemrec, "train", "data", "--out", "model", cwd=installed.folder, code=3)
    message, hint = done.stderr.splitlines()
    assert message == "itemrec: error: Keras is not installed; training needs it"
    assert re.fullmatch(r"  Install it: .*pip install 'itemrec\[train\] @ file://.*\.whl'", hint)
