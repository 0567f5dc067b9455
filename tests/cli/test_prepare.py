"""`itemrec prepare` as a user types it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from cli.main import invoke
from tests.trainer.prepare.samples import encoded, files, photo, pictures, write, write_raw


@pytest.fixture(autouse=True)
def _raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = write_raw(tmp_path / "raw", products=3, views=10)
    write(raw, "p0/cut \x1b[31m.jpg", (raw / "p0/1.jpg").read_bytes()[:500])
    write(raw, "p0/copy.jpg", (raw / "p0/1.jpg").read_bytes())
    write(raw, "p1/wrong.jpg", (raw / "p2/1.jpg").read_bytes())
    write(raw, "lonely/1.jpg", encoded(photo(77)))


def test_data_on_stdout_and_talk_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["prepare", "raw", "out"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == ["split  pictures  products  share", "train        24         4  80.0%"]
    assert "total        30         4" in out
    assert "Prepared raw into out" in out
    assert "30 added" in out
    assert "Dropped 1 file that cannot be used:" in err
    assert "p0/cut \\x1b[31m.jpg: expected a complete picture" in err
    assert "p0/copy.jpg = 1.jpg (the same file)" in err
    assert "p1/wrong.jpg = p2/1.jpg (the same file)" in err
    assert "Too few views: 1 product with fewer than 4 pictures:" in err
    assert "With a single picture, which is in train: 1 product." in err
    assert "\x1b" not in out + err


def test_a_second_run_says_that_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["prepare", "raw", "out", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert invoke(["prepare", "raw", "out"]) == 0
    out, err = capsys.readouterr()
    assert "out is up to date with raw: nothing to do." in out
    assert "Left out as before: 1 unusable file, 1 duplicate, 1 conflict; out/manifest.json lists them." in err


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["prepare", "raw", "out", "--json", "--quiet"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == ""
    assert document["schema"] == "itemrec.prepare/1"
    assert document["added"] == 30
    assert document["counts"]["splits"]["train"] == {"images": 24, "products": 4}
    assert [d["code"] for d in document["dropped"]] == ["truncated"]
    assert document["digest"] == json.loads(Path("out/manifest.json").read_text(encoding="utf-8"))["digest"]
    assert not document["up_to_date"]
    assert invoke(["prepare", "raw", "out", "--json", "--quiet"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["up_to_date"]
    assert (again["added"], again["unchanged"]) == (0, 30)


def test_a_dry_run_prints_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["prepare", "raw", "out", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    planned = [line.split(maxsplit=1) for line in out.splitlines()]
    assert {action for action, _ in planned} == {"add"}
    assert "Would prepare raw into out: 24 train, 3 val, 3 test; files: 30 added." in err
    assert not os.path.exists("out")
    assert invoke(["prepare", "raw", "out", "--quiet"]) == 0
    assert {path for _, path in planned} == set(pictures(Path("out")))
    capsys.readouterr()
    assert invoke(["prepare", "raw", "out", "--dry-run", "--json", "--seed", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["dry_run"]
    assert document["plan"]
    assert {step["action"] for step in document["plan"]} == {"move"}


def test_options_reach_the_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--by", "product", "--ratios", "2:1:1", "--seed", "5", "--max-side", "100", "--near-bits", "3"]
    assert invoke(["prepare", "raw", "out", *words, "--keep-conflicts", "--min-views", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["options"] == {
        "by": "product",
        "ratios": "2:1:1",
        "seed": 5,
        "max_side": 100,
        "jpeg_quality": 95,
        "near_bits": 3,
        "keep_conflicts": True,
        "keep_splits": False,
        "min_views": 2,
    }
    assert document["conflicts"][0]["kept"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["raw", "out", "--ratios", "8:1"], "expected ratios train:val:test, received '8:1'"),
        (["raw", "out", "--by", "hand"], "expected --by image or --by product, received 'hand'"),
        (["raw", "out", "--keep-splits", "--by", "image"], "expected either --keep-splits or --by"),
        (["raw", "out", "--keep-splits"], "expected train/, val/ or test/ in"),
        (["nowhere", "out"], "nowhere"),
        (["raw", "raw/out"], "expected a dataset apart from its source raw, received raw/out inside it"),
        (["raw", "."], "apart from its source"),
        (["raw", "mine"], "received mine with thesis.doc"),
    ],
    ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "",
)
def test_wrong_usage_is_one_line_with_a_hint(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(Path(), "mine/thesis.doc", b"")
    assert invoke(["prepare", *words]) == 2
    error, *hint = capsys.readouterr().err.splitlines()
    assert error.startswith("itemrec: error: ")
    assert said in error
    assert len(hint) == 1
    assert hint[0].startswith("  ")


def test_a_divided_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["prepare", "raw", "divided", "--quiet"]) == 0
    shutil.rmtree("divided/.prepare")
    os.remove("divided/manifest.json")
    held_out = next(path for path in sorted(pictures(Path("divided"))) if path.startswith("test/"))
    product = held_out.split("/")[1]
    write(Path("divided"), f"train/{product}/leak.jpg", Path("divided", held_out).read_bytes())
    capsys.readouterr()
    assert invoke(["prepare", "divided", "out"]) == 2
    assert "--keep-splits" in capsys.readouterr().err
    assert invoke(["prepare", "divided", "out", "--keep-splits"]) == 0
    assert "Leaks: 1 picture repeated in another split" in capsys.readouterr().err
    assert pictures(Path("out")).keys() == pictures(Path("divided")).keys() - {f"train/{product}/leak.jpg"}


def test_an_empty_split_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["prepare", "raw", "out", "--by", "product", "--ratios", "1:0:0", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    shutil.rmtree("raw/p0")
    shutil.rmtree("raw/p1")
    assert invoke(["prepare", "raw", "out", "--by", "product", "--quiet"]) == 0
    assert "warning: val and test got no picture: too few for ratios 8:1:1" in capsys.readouterr().err


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trainer.prepare.make_plan", interrupt)
        assert invoke(["prepare", "raw", "out"]) == 130
    assert "run the same command to continue" in capsys.readouterr().err
    assert files(Path("out")) == {}
    assert invoke(["prepare", "raw", "out"]) == 0
    assert "Continued an interrupted run." in capsys.readouterr().err
