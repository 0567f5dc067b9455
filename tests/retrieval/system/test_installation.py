import json
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from retrieval.system.installation import install_hint, missing, package_hint, program


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment of its own at this place, with nothing known of where itemrec came from."""
    prefix = tmp_path / "env"
    prefix.mkdir()
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", "/env/bin/python")
    monkeypatch.setattr("shutil.which", lambda _: None)
    came_from(monkeypatch, None)
    return prefix


def came_from(monkeypatch: pytest.MonkeyPatch, origin: object) -> None:
    text = None if origin is None else json.dumps(origin)
    monkeypatch.setattr(metadata, "distribution", lambda _: SimpleNamespace(read_text=lambda _: text))


@pytest.mark.parametrize("editable", [True, False])
def test_a_checkout_is_named(installed: Path, editable: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "my source"
    source.mkdir()
    (source / "pyproject.toml").touch()
    came_from(monkeypatch, {"url": source.as_uri(), "dir_info": {"editable": editable}})
    flag = "-e " if editable else ""
    assert install_hint("onnx") == f"Install it: /env/bin/python -m pip install {flag}'{source}[onnx]'"
    assert install_hint() == f"Install it: /env/bin/python -m pip install {flag}'{source}'"


def test_a_source_that_is_gone_is_not_named(installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    came_from(monkeypatch, {"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    want = "Install it, in the folder of itemrec's source: /env/bin/python -m pip install '.[onnx]'"
    assert install_hint("onnx") == want
    came_from(monkeypatch, None)
    assert install_hint("onnx") == want


@pytest.mark.parametrize(
    ("origin", "want"),
    [
        ({"url": "https://example.org/itemrec.git", "vcs_info": {"vcs": "git"}}, "git+https://example.org/itemrec.git"),
        ({"url": "file:///tmp/itemrec.whl", "archive_info": {}}, "file:///tmp/itemrec.whl"),
    ],
)
def test_an_address_is_named(installed: Path, origin: object, want: str, monkeypatch: pytest.MonkeyPatch) -> None:
    came_from(monkeypatch, origin)
    assert install_hint("train") == f"Install it: /env/bin/python -m pip install 'itemrec[train] @ {want}'"
    assert install_hint() == f"Install it: /env/bin/python -m pip install 'itemrec @ {want}'"


@pytest.mark.parametrize("damaged", ["", "{", "[]", "null", '{"url": "file:///x", "dir_info": null}'])
def test_damaged_metadata_is_no_failure(installed: Path, damaged: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: SimpleNamespace(read_text=lambda _: damaged))
    assert install_hint("train").endswith("-m pip install '.[train]'")


def test_pip_of_the_same_environment_needs_no_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/env/bin/{name}")
    assert package_hint("a-model") == "Install it: pip install a-model"
    assert package_hint("a-model", again=True) == "Install it: pip install --force-reinstall a-model"
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert package_hint("a-model") == "Install it: /env/bin/python -m pip install a-model"


@pytest.mark.parametrize(
    ("marker", "again", "beside"),
    [
        (
            "uv-receipt.toml",
            "uv tool install --force '.[train]'",
            ", in the folder of itemrec's source: uv tool install . --with a-model",
        ),
        ("pipx_metadata.json", "pipx install --force '.[train]'", ": pipx inject itemrec a-model"),
    ],
)
def test_tools_with_environments_of_their_own(installed: Path, marker: str, again: str, beside: str) -> None:
    (installed / marker).touch()
    assert install_hint("train") == f"Install it, in the folder of itemrec's source: {again}"
    assert package_hint("a-model") == f"Install it{beside}"


def test_a_command_is_named_so_that_it_runs_as_printed(
    installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert program() == "/env/bin/python -m itemrec"
    script = tmp_path / "my env" / "itemrec"
    script.parent.mkdir()
    script.touch()
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    assert program() == f"'{script}'"
    monkeypatch.chdir(tmp_path)
    assert program() == "'my env/itemrec'"
    linked = tmp_path / "itemrec"
    linked.symlink_to(script)
    monkeypatch.setattr("shutil.which", lambda _: str(linked))
    assert program() == "itemrec"


def test_what_is_missing_and_what_is_broken() -> None:
    assert missing("X", "a Y") == "X is not installed; a Y needs it"
    assert missing("X", "a Y", ModuleNotFoundError("No module named 'x'")) == "X is not installed; a Y needs it"
    broken = missing("X", "a Y", ImportError("libGL.so.1: cannot open\nshared object file"))
    assert broken == "X, which a Y needs, cannot be loaded: libGL.so.1: cannot open\\nshared object file"
