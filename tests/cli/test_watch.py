"""`itemrec watch` as a process: it indexes, follows, and ends as it is told."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import pytest

from cli.main import invoke
from cli.watch import _whole_lines
from retrieval.index.open import open_index
from retrieval.models.bundle import Bundle
from tests.fakes import picture, write_catalog
from tests.forking import ITEMREC, ForkServer


def test_it_follows_the_catalog_and_ends_cleanly(tmp_path: Path, forks: ForkServer, tiny_bundle: Bundle) -> None:
    catalog = write_catalog(tmp_path / "catalog", products=2, views=2)
    environment = os.environ | {"ITEMREC_HOME": str(tmp_path / "home"), "ITEMREC_MODEL": str(tiny_bundle.path)}
    process = forks.start(ITEMREC, "watch", "catalog", "--prune", cwd=tmp_path, env=environment)
    assert process.stdout is not None
    assert "4 added, 0 updated, 0 removed: 4 pictures of 2 products" in process.stdout.readline()
    picture(1, view=7).save(catalog / "p001" / "more.png")
    assert "1 added, 0 updated, 0 removed: 5 pictures of 2 products" in process.stdout.readline()
    (catalog / "p000" / "0.png").unlink()
    assert "0 added, 0 updated, 1 removed: 4 pictures of 2 products" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines()[0].startswith("Watching catalog.")
    assert err.splitlines()[-1] == "Stopped."
    manifest = open_index(str(tmp_path / ".itemrec")).manifest()
    assert manifest is not None
    assert manifest.images == 4


def test_a_signal_is_heard_when_the_line_is_out_and_a_second_one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(io.StringIO):
        signals = 1

        def write(self, text: str) -> int:
            for _ in range(self.signals):
                signal.raise_signal(signal.SIGTERM)
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", out := Interrupted())
    handler = signal.getsignal(signal.SIGTERM)
    for signals, written in ((1, "a line"), (2, "")):
        out.signals = signals
        out.truncate(out.seek(0))
        with pytest.raises(KeyboardInterrupt), _whole_lines():
            sys.stdout.write("a line")
        assert out.getvalue() == written
        assert signal.getsignal(signal.SIGTERM) is handler


def test_an_object_store_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["watch", "s3://bucket/catalog"]) == 2
    assert "run itemrec index from a timer" in capsys.readouterr().err
