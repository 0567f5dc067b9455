"""`itemrec copy`, `snapshot`, `restore`, `index --explain` and `--shard`, as a user types them."""

from pathlib import Path

import pytest

from cli.main import invoke
from tests.cli.test_index_query import Run, _shop, run
from tests.fakes import PixelEncoder
from tests.qdrant import double

__all__ = ["_shop", "run"]


def test_an_index_moves_to_a_server_and_answers_the_same(run: Run) -> None:
    run("index", "catalog", "--model", "bundle")
    _, before = run("query", "known.png", "stranger.png")
    with double.serving() as server:
        url = server.url("/shop")
        PixelEncoder.calls = 0
        code, moved = run("copy", "--to", url)
        assert (code, moved["schema"], moved["images"], moved["written"]) == (0, "itemrec.copy/1", 18, 18)
        assert PixelEncoder.calls == 0, "nothing is embedded again"
        _, after = run("query", "known.png", "stranger.png", "--index", url)
        for ours, theirs in zip(before["results"], after["results"], strict=True):
            assert ours["verdict"] == theirs["verdict"]
            assert [m["product_id"] for m in ours["matches"]] == [m["product_id"] for m in theirs["matches"]]
            assert [m["score"] for m in ours["matches"]] == pytest.approx([m["score"] for m in theirs["matches"]])
        code, back = run("copy", "--from", url, "--to", "elsewhere")
        assert (code, back["checksum"]) == (0, moved["checksum"])
        code, health = run("doctor", "--index", url, "--full")
        assert (code, health["healthy"]) == (0, True)
        code, listed = run("generations", "--index", url)
        assert [(g["generation"], g["state"]) for g in listed["generations"]] == [(1, "live")]


def test_snapshot_then_restore(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("index", "catalog", "--model", "bundle")
    code, saved = run("snapshot", "shop.itemrec")
    assert (code, saved["schema"], saved["images"]) == (0, "itemrec.snapshot/1", 18)
    code, restored = run("restore", "shop.itemrec")
    assert (code, restored["schema"], restored["generation"]) == (0, "itemrec.restore/1", 2)
    assert restored["checksum"] == saved["checksum"]
    assert run("query", "known.png")[0] == 0
    assert invoke(["restore", "shop.itemrec", "--index", "new"]) == 0
    assert "as generation 1: 18 images" in capsys.readouterr().out


def test_wrong_moves_are_one_line(run: Run) -> None:
    run("index", "catalog", "--model", "bundle")
    Path("text.itemrec").write_text("no snapshot")
    for words, code, name in (
        (("copy",), 2, "UsageError"),
        (("copy", "--to", "./.itemrec/"), 2, "UsageError"),
        (("copy", "--from", "nowhere", "--to", "x"), 2, "IndexNotFoundError"),
        (("snapshot", "no/such/folder/x"), 2, "UsageError"),
        (("snapshot", "x", "--index", "nowhere"), 2, "IndexNotFoundError"),
        (("restore", "missing.itemrec"), 2, "UsageError"),
        (("restore", "text.itemrec"), 3, "IndexDamagedError"),
        (("index", "catalog", "--shard", "1/2"), 2, "UsageError"),
        (("index", "catalog", "--shard", "3/2"), 2, "UsageError"),
        (("index", "catalog", "--explain", "--replicas", "2"), 2, "UsageError"),
    ):
        found, error = run(*words)
        assert (found, error["error"]) == (code, name), words
    assert not Path("x").exists()


def test_explain_prints_the_layout_and_indexes_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, plan = run("index", "catalog", "--model", "bundle", "--explain")
    assert (code, plan["schema"], plan["layout"]["images"], plan["layout"]["nodes"]) == (0, "itemrec.explain/1", 18, 1)
    assert plan["layout"]["memory_bytes_a_node"] > 0
    assert not Path(".itemrec").exists()
    with double.serving() as server:
        server.peers = 3
        words = ["index", "catalog", "--model", "bundle", "--explain", "--expect", "50000000", "--index", server.url()]
        assert invoke([*words, "--shards", "12"]) == 0
        text = capsys.readouterr().out
        assert server.client.get_collections().collections == []
    assert "50,000,000 images of 48 dimensions on 3 nodes" in text
    assert "12      given" in text
    assert "One node lost: photos are answered, index runs go on." in text
    assert "Two lost: photos are answered, index runs wait until enough are back." in text
    assert "GB of memory" in text


def test_two_workers_make_one_index(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with double.serving() as server:
        url = server.url("/parts")
        code, first = run("index", "catalog", "--model", "bundle", "--index", url, "--shard", "1/2")
        assert (code, first["shard"], first["waiting_for_shards"]) == (0, "1/2", 1)
        assert run("query", "known.png", "--index", url)[0] == 2
        assert invoke(["index", "catalog", "--model", "bundle", "--index", url, "--shard", "1/2"]) == 0
        assert "when 1 more are" in capsys.readouterr().err
        code, second = run("index", "catalog", "--model", "bundle", "--index", url, "--shard", "2/2")
        assert (second["waiting_for_shards"], second["images"]) == (0, 18)
        assert first["added"] + second["added"] == 18
        assert run("query", "known.png", "--index", url)[0] == 0
        Path("catalog/p000/0.png").unlink()
        words = ("index", "catalog", "--index", url, "--prune", "--shard")
        assert sorted(run(*words, f"{n}/2")[1]["removed"] for n in (1, 2)) == [0, 1]
