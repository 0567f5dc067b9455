"""`itemrec generations`, `rollback`, `gc`, and the checks and gates before a switch, as a user types them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.main import invoke
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.manifest import Manifest
from tests.cli.test_index_query import Run, _shop, run
from tests.fakes import PixelEncoder, fake_bundle, write_catalog

__all__ = ["_shop", "run"]


def states(run: Run) -> list[tuple[int, str, str]]:
    code, document = run("generations")
    assert (code, document["schema"]) == (0, "itemrec.generations/1")
    return [(g["generation"], g["state"], g["model"]) for g in document["generations"]]


@pytest.fixture
def rebuilt(run: Run, tmp_path: Path) -> None:
    fake_bundle(tmp_path / "other", name="other", encoder=b"other")
    run("index", "catalog", "--model", "bundle")
    run("index", "catalog", "--model", "other", "--rebuild")


def test_rebuild_then_rollback_then_gc(rebuilt: None, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert states(run) == [(1, "kept", "pixels"), (2, "live", "other")]
    assert invoke(["rollback"]) == 0
    assert "Generation 1 is live: 18 images of 6 products, model pixels" in capsys.readouterr().out
    assert states(run) == [(1, "live", "pixels"), (2, "kept", "other")]
    code, answer = run("query", "known.png")
    assert (code, answer["results"][0]["matches"][0]["product_id"]) == (0, "p002")
    assert invoke(["generations"]) == 0
    table = capsys.readouterr().out
    assert "live" in table
    assert "kept" in table
    code, removed = run("gc")
    assert (code, removed["schema"]) == (0, "itemrec.gc/1")
    assert [g["generation"] for g in removed["generations"]] == [2]
    assert removed["generations"][0]["bytes"] > 0
    assert states(run) == [(1, "live", "pixels")]
    assert invoke(["gc"]) == 0
    assert "nothing" in capsys.readouterr().out


def test_wrong_uses_are_one_line(rebuilt: None, run: Run) -> None:
    code, error = run("rollback", "--to", "9")
    assert (code, error["error"]) == (2, "UsageError")
    assert "1" in error["hint"]
    for command in ("generations", "rollback", "gc"):
        code, error = run(command, "--index", "nowhere")
        assert (code, error["error"]) == (2, "IndexNotFoundError"), command


def test_a_rollback_to_a_model_that_is_gone_says_so(
    rebuilt: None, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "bundle")
    assert invoke(["rollback"]) == 0
    assert "pixels" in capsys.readouterr().err
    code, error = run("query", "known.png")
    assert (code, error["error"]) == (2, "ModelNotFoundError")


def test_a_damaged_generation_is_not_gone_back_to(rebuilt: None, run: Run) -> None:
    (manifest,) = Path(".itemrec").glob("generations/gen-000001/manifest.json")
    manifest.write_text(manifest.read_text().replace('"images": 18', '"images": 17'))
    code, error = run("rollback")
    assert (code, error["error"]) == (3, "IndexDamagedError")
    assert states(run)[1] == (2, "live", "other")


def test_a_gate_keeps_the_old_generation_live(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_catalog(tmp_path / "data" / "val", products=6, views=5)
    for photo in (tmp_path / "data" / "val").glob("*/[012].png"):
        photo.unlink()  # the gallery holds these
    run("index", "catalog", "--model", "bundle")
    fake_bundle(tmp_path / "other", name="other", encoder=b"other")
    gate = ("--data", "data", "--require", "top1>=0.9")
    capsys.readouterr()
    code = invoke(["index", "catalog", "--model", "other", "--rebuild", *gate, "--require", "top1>1"])
    assert code == 1
    errors = capsys.readouterr().err
    assert "passed: top1>=0.9" in errors
    assert "failed: top1>1" in errors
    assert states(run) == [(1, "live", "pixels"), (2, "building", "other")]
    PixelEncoder.calls = 0
    code, report = run("index", "catalog", "--model", "other", "--rebuild", *gate)
    assert (code, report["resumed"], report["images"]) == (0, True, 18)
    assert PixelEncoder.calls == 12, "the finished build is continued: only the photos of the gate are embedded"
    assert states(run) == [(1, "kept", "pixels"), (2, "live", "other")]


@pytest.mark.parametrize(
    "words",
    [("--require", "top1>=0.9"), ("--require", "nonsense", "--data", "."), ("--require", "top1>0", "--data", ".")],
)
def test_gates_that_cannot_be_measured_are_refused_before_any_work(run: Run, words: tuple[str, ...]) -> None:
    code, error = run("index", "catalog", "--model", "bundle", *words)
    assert (code, error["error"]) == (2, "UsageError")
    assert PixelEncoder.calls == 0


def test_pictures_that_do_not_find_themselves_do_not_go_live(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("index", "catalog", "--model", "bundle")
    monkeypatch.setattr("retrieval.index.checks.finds_itself", lambda store, point: point.record.product_id != "p003")
    code, error = run("index", "catalog", "--rebuild", "--model", "bundle")
    assert (code, error["error"]) == (3, "IndexDamagedError")
    assert "p003" in error["message"]
    assert states(run)[0] == (1, "live", "pixels")


def test_a_query_that_two_rebuilds_overtook_asks_again_with_the_new_model(
    rebuilt: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, overtaken = EmbeddedIndex.reader, []

    @contextmanager
    def reader(self: EmbeddedIndex, pinned: Manifest | None = None) -> Iterator[object]:
        if pinned is not None and not overtaken:
            overtaken.append(pinned.model.name)
            self.rollback()
            self.collect()
        with real(self, pinned) as opened:
            yield opened

    monkeypatch.setattr(EmbeddedIndex, "reader", reader)
    code, answer = run("query", "known.png")
    assert overtaken == ["other"]
    assert (code, answer["results"][0]["matches"][0]["product_id"]) == (0, "p002")
    assert len(answer["results"]) == 1
    assert states(run) == [(1, "live", "pixels")]
    manifest = EmbeddedIndex(Path(".itemrec")).manifest()
    assert manifest is not None
    assert answer["fingerprint"] == manifest.model.fingerprint


def test_a_rebuild_keeps_the_model_of_the_index(run: Run) -> None:
    run("index", "catalog", "--model", "bundle")
    code, _ = run("index", "catalog", "--rebuild")
    assert code == 0
    assert states(run) == [(1, "kept", "pixels"), (2, "live", "pixels")]
