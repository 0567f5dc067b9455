"""Native output on stderr: sifted, kept in order, never lost by mistake."""

import os
import threading

import pytest

from retrieval.system.stderr import held_back


def native(text: str) -> None:
    os.write(2, text.encode())


def fail() -> None:
    native("panicked\n")
    raise RuntimeError


def test_what_is_wanted_comes_through_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    with held_back(drop=(b"INFO", b"WARN")):
        native("INFO: greeting\nsomething real\nWARN: chatter\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "something real\n"
    with held_back(drop=(b"INFO",)):
        native("a line of the second time\n")
    assert capfd.readouterr().err == "a line of the second time\n"


def test_an_error_drops_only_what_was_asked(capfd: pytest.CaptureFixture[str]) -> None:
    for dropped in (True, False):
        with pytest.raises(RuntimeError), held_back(drop_on_error=dropped):
            fail()
        assert capfd.readouterr().err == ("" if dropped else "panicked\n")
    with held_back(drop_on_error=True):
        native("no error\n")
    assert capfd.readouterr().err == "no error\n"


def test_threads_take_turns(capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> None:
        for _ in range(50):
            with held_back(drop=(b"-",)):
                native(f"- {number}\n+ {number}\n")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    native("end\n")
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines[:-1]) == sorted(f"+ {n}" for n in range(4) for _ in range(50))
    assert lines[-1] == "end"
