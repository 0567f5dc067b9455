"""`itemrec refuse` as a user types it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import options
from cli.main import invoke
from retrieval.indexing.run import index as index_catalog
from tests.fakes import fake_bundle, picture, use_pixel_encoder, write_catalog

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ITEMREC_INDEX", raising=False)
    monkeypatch.delenv("ITEMREC_MODEL", raising=False)
    options._config.cache_clear()
    use_pixel_encoder(monkeypatch)
    write_catalog(tmp_path / "catalog", products=4, views=2)
    index_catalog("catalog", model=fake_bundle(tmp_path / "bundle", threshold=0.5).path)
    (tmp_path / "strange").mkdir()
    for number in (40, 41):
        picture(number, view=9).save(tmp_path / "strange" / f"{number}.png")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json and return its exit code and document."""

    def go(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = invoke([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return go


def test_add_list_and_remove(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("query", "strange/40.png")[0] == 0
    code, added = run("refuse", "add", "strange", "--note", "the rival's oat milk")
    assert (code, added["schema"], added["refused"]) == (0, "itemrec.refuse/1", [])
    assert [(r["image"], r["note"]) for r in added["added"]] == [
        ("40.png", "the rival's oat milk"),
        ("41.png", "the rival's oat milk"),
    ]
    assert run("refuse", "list")[1]["refusals"] == added["refusals"]

    code, answer = run("query", "strange/40.png")
    assert code == 1
    assert answer["results"][0]["refused_by"]["image"] == "40.png"
    assert invoke(["query", "strange/40.png"]) == 1
    assert "refused by 40.png (the rival's oat milk), 0.000 away" in " ".join(capsys.readouterr().out.split())

    code, removed = run("refuse", "remove", added["added"][0]["refusal_id"][:8])
    assert (code, [r["image"] for r in removed["removed"]], [r["image"] for r in removed["refusals"]]) == (
        0,
        ["40.png"],
        ["41.png"],
    )


def test_text_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["refuse", "list"]) == 0
    assert capsys.readouterr().out == "No pictures are refused. Add some: itemrec refuse add PHOTO\n"
    assert invoke(["refuse", "add", "strange/40.png", "--note", "a rival"]) == 0
    said = capsys.readouterr()
    assert "1 picture is refused by .itemrec now." in said.err
    assert all(len(line) <= 80 for line in (said.out + said.err).splitlines())
    assert invoke(["refuse", "remove", "40.png"]) == 0
    assert "0 pictures are refused by .itemrec now." in capsys.readouterr().out


def test_what_cannot_be_read_is_told_and_the_rest_is_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "strange" / "bad.png").write_bytes(b"no picture")
    code, document = run("refuse", "add", "strange")
    assert (code, len(document["added"]), [r["path"] for r in document["refused"]]) == (2, 2, ["strange/bad.png"])
    code, error = run("refuse", "add", "strange/bad.png")
    assert (code, error["error"]) == (2, "ImageError")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("remove", "nothing.png"), "names none"),
        (("remove", "nothing.png", "--index", "nowhere"), "There is no index"),
        (("list", "--index", "nowhere"), "There is no index"),
        (("add", "strange/40.png", "--index", "nowhere"), "There is no index"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, words: tuple[str, ...], message: str) -> None:
    code, document = run("refuse", *words)
    assert code == 2
    assert message in document["message"]
