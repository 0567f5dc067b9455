"""`itemrec serve` and `itemrec keys` as a user types them."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from cli.main import invoke


def said(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, str, str]:
    code = invoke(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_an_address_that_others_reach_needs_keys(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "shop.example"):
        code, out, err = said(capsys, ["serve", "--host", host])
        assert (code, out) == (2, "")
        assert "--keys" in err


def test_what_is_wrong_is_said_before_anything_listens(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = said(capsys, ["serve"])
    assert code == 2
    assert "There is no index" in err
    code, _, err = said(capsys, ["serve", "--keys", "nowhere.json"])
    assert code == 2
    assert "itemrec keys add" in err
    (tmp_path / "keys.json").write_text('{"schema": "other"}')
    code, _, err = said(capsys, ["serve", "--keys", "keys.json"])
    assert code == 2
    assert "file of keys" in err


def test_a_taken_port_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from cli.serve import _listen
    from retrieval.errors import UsageError

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match=r"received 127\.0\.0\.1:"):
        _listen("127.0.0.1", taken.getsockname()[1])


def test_answers_are_sent_at_once() -> None:
    # asyncio turns off Nagle's algorithm for sockets that name TCP; without that an answer waits 40 ms.
    from cli.serve import _listen

    with _listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_keys_are_added_listed_and_removed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = str(tmp_path / "keys.json")
    code, out, err = said(capsys, ["keys", "add", file, "till", "--where", "category=Milk", "--rate", "2"])
    assert code == 0
    assert out.startswith("irk.")
    assert out.strip() not in err
    code, out, _ = said(capsys, ["keys", "list", file, "--json"])
    (entry,) = json.loads(out)["keys"]
    assert (entry["name"], entry["role"], entry["where"], entry["rate"]) == ("till", "recognize", ["category=Milk"], 2)
    assert said(capsys, ["keys", "list", file])[1].count("till") == 1
    assert said(capsys, ["keys", "remove", file, entry["id"]])[0] == 0
    code, _, err = said(capsys, ["keys", "remove", file, entry["id"]])
    assert code == 2
    assert "which no key has" in err
    assert said(capsys, ["keys", "add", file, "x", "--role", "king"])[0] == 2
    (tmp_path / "keys.json").write_text("[]")
    assert said(capsys, ["keys", "list", file])[0] == 2
