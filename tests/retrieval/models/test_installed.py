from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from retrieval.errors import BundleError, ModelNotFoundError, UsageError
from retrieval.models import installed
from retrieval.models.bundle import Bundle, read_bundle
from retrieval.models.installed import find_model, home, installed_models, place_for, resolve_model
from tests.retrieval.networks import bundle_of, tflite


@pytest.fixture(autouse=True)
def itemrec_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(installed, "starter_path", lambda: tmp_path / "starter")
    return tmp_path / "home"


def install(name: str, network: str = "embed") -> Bundle:
    return bundle_of(tflite(network), place_for(name), name=name)


@pytest.fixture
def starter(tmp_path: Path) -> Bundle:
    return bundle_of(tflite("embed"), tmp_path / "starter", name="starter")


def spoil(bundle: Bundle) -> None:
    bundle.encoder_file.write_bytes(b"spoiled")


def test_home_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert home() == tmp_path / "home"
    monkeypatch.delenv("ITEMREC_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setattr(installed.sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert home() == tmp_path / "xdg" / "itemrec"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert home() == tmp_path / "me" / ".local" / "share" / "itemrec"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert home() == tmp_path / "me" / ".local" / "share" / "itemrec"
    monkeypatch.setattr(installed.sys, "platform", "darwin")
    assert home() == tmp_path / "me" / "Library" / "Application Support" / "itemrec"
    monkeypatch.setattr(installed.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert home() == tmp_path / "local" / "itemrec"
    monkeypatch.delenv("LOCALAPPDATA")
    assert home() == tmp_path / "me" / "AppData" / "Local" / "itemrec"


def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ITEMREC_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(installed.sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", none)


def test_without_a_home_only_installing_fails(monkeypatch: pytest.MonkeyPatch, starter: Bundle) -> None:
    homeless(monkeypatch)
    with pytest.raises(UsageError) as caught:
        place_for("mine")
    assert "ITEMREC_HOME" in caught.value.hint
    assert resolve_model(None) == starter
    assert [model.name for model in installed_models()] == ["starter"]
    with pytest.raises(ModelNotFoundError):
        find_model("mine")


def test_a_place_that_cannot_be_written(itemrec_home: Path) -> None:
    itemrec_home.write_bytes(b"a file")
    with pytest.raises(UsageError) as caught:
        place_for("mine")
    assert str(itemrec_home) in caught.value.message
    assert "ITEMREC_HOME" in caught.value.hint
    assert installed_models() == []


@pytest.mark.parametrize("name", ["starter", "", "../up", "a/b", "."])
def test_names_that_cannot_be_installed(name: str) -> None:
    with pytest.raises(UsageError):
        place_for(name)


def test_the_list_names_everything_and_hides_nothing(itemrec_home: Path, starter: Bundle) -> None:
    assert [model.name for model in installed_models()] == ["starter"]
    good, bad = install("good"), install("bad", "fixed")
    spoil(bad)
    (itemrec_home / "models" / ".good.1.new").mkdir()
    (itemrec_home / "models" / "notes.txt").write_text("x")
    (itemrec_home / "models" / "empty").mkdir()
    listed = installed_models()
    assert [(m.name, m.builtin, m.bundle) for m in listed] == [
        ("starter", True, starter),
        ("bad", False, None),
        ("good", False, good),
    ]
    assert "damaged" in listed[1].problem
    assert listed[2].problem == ""


def test_models_are_found_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starter: Bundle) -> None:
    mine = install("mine")
    assert find_model("mine") == mine
    assert find_model("starter") == starter
    assert find_model(str(mine.path)) == mine
    loose = bundle_of(tflite("fixed"), tmp_path / "loose")
    monkeypatch.chdir(tmp_path)
    assert find_model("loose") == loose
    assert find_model("./loose") == loose
    monkeypatch.setenv("HOME", str(tmp_path))
    if os.name != "nt":
        assert find_model("~/loose") == loose
    shutil.copytree(loose.path, tmp_path / "mine")
    assert find_model("mine") == mine
    assert find_model("./mine").fingerprint == loose.fingerprint


@pytest.mark.parametrize("ref", ["nobody", "./nobody", "/no/where", "", "~nobody/x", "a\0b", "x" * 5000])
def test_a_model_that_is_not_there(ref: str) -> None:
    install("mine")
    with pytest.raises((ModelNotFoundError, BundleError)) as caught:
        find_model(ref)
    assert caught.value.message


def test_a_wrong_name_lists_the_right_ones(starter: Bundle) -> None:
    install("mine")
    with pytest.raises(ModelNotFoundError, match=r"starter, mine.*'mien'") as caught:
        find_model("mien")
    assert "models list" in caught.value.hint


def test_a_file_that_is_no_bundle_says_how_to_import_it() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        find_model(str(tflite("embed")))
    assert "models import" in caught.value.hint


def test_a_named_model_wins(starter: Bundle) -> None:
    mine, other = install("mine"), install("other", "fixed")
    assert resolve_model("mine", index_model=other.identity) == mine


def test_the_index_s_model_comes_before_the_starter(starter: Bundle) -> None:
    mine = install("mine", "fixed")
    assert resolve_model(None, index_model=mine.identity) == mine
    assert resolve_model(None) == starter


def test_the_index_s_model_is_found_where_it_moved(tmp_path: Path, starter: Bundle) -> None:
    loose = bundle_of(tflite("fixed"), tmp_path / "loose")
    install("unrelated", "tokens")
    os.rename(loose.path, place_for("moved"))
    assert resolve_model(None, index_model=loose.identity).path == place_for("moved")
    bundle_of(tflite("any_size"), loose.path)
    assert resolve_model(None, index_model=loose.identity).path == place_for("moved")


def test_the_starter_is_found_by_its_fingerprint(tmp_path: Path, starter: Bundle) -> None:
    elsewhere = bundle_of(tflite("embed"), tmp_path / "elsewhere", name="starter")
    shutil.rmtree(elsewhere.path)
    assert resolve_model(None, index_model=elsewhere.identity) == starter


def test_an_index_s_model_that_is_gone(tmp_path: Path, starter: Bundle) -> None:
    loose = bundle_of(tflite("fixed"), tmp_path / "loose", name="grocer")
    shutil.rmtree(loose.path)
    with pytest.raises(ModelNotFoundError, match=f"'grocer'.*{loose.fingerprint[:12]}") as caught:
        resolve_model(None, index_model=loose.identity)
    assert "--model" in caught.value.hint
    assert "--rebuild" in caught.value.hint


def test_an_index_of_an_earlier_built_in_says_how_to_index_again(tmp_path: Path, starter: Bundle) -> None:
    earlier = bundle_of(tflite("fixed"), tmp_path / "earlier", name="starter")
    shutil.rmtree(earlier.path)
    with pytest.raises(ModelNotFoundError, match="built-in model of an earlier itemrec") as caught:
        resolve_model(None, index_model=earlier.identity)
    assert "itemrec index CATALOG --rebuild --model starter" in caught.value.hint


def test_a_damaged_model_of_the_index_is_named_unless_a_good_copy_is_there(starter: Bundle) -> None:
    mine = install("mine", "fixed")
    spoil(mine)
    with pytest.raises(BundleError, match="damaged"):
        resolve_model(None, index_model=mine.identity)
    copy = install("copy", "fixed")
    assert resolve_model(None, index_model=mine.identity) == copy


def test_without_a_starter() -> None:
    with pytest.raises(ModelNotFoundError, match="built-in") as caught:
        resolve_model(None)
    assert "--model" in caught.value.hint
    with pytest.raises(ModelNotFoundError, match="built-in"):
        find_model("starter")


def test_a_damaged_starter_is_said_to_be_damaged(starter: Bundle) -> None:
    spoil(starter)
    with pytest.raises(BundleError, match="damaged"):
        resolve_model(None)
    assert installed_models()[0].problem


def test_bundles_read_back_are_equal(starter: Bundle) -> None:
    assert read_bundle(starter.path) == starter
