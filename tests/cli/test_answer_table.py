"""The table of an answer: its columns, and what gives way in a narrow terminal."""

import re
import sys

import pytest

from cli.answer_table import percent, print_products
from retrieval.types import Evidence, Match

LONG = "arla-ecological-medium-fat-milk"


def match(product: str, confidence: float | None = None, **metadata: str) -> Match:
    evidence = (Evidence(f"{product}/one.jpg", 0.1), Evidence(f"{product}/two.jpg", 0.2))
    return Match(product, 0.5, 2, 0.75, 0.1, evidence, metadata, confidence)


def drawn(
    products: list[Match],
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    **options: bool,
) -> list[str]:
    """The lines in a terminal of a width."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for name, value in (("COLUMNS", str(width)), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    print_products(products, **options)
    return re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()


@pytest.mark.parametrize("width", [80, 40, 20])
@pytest.mark.parametrize("explain", [False, True])
def test_columns_give_way_and_ids_are_never_broken(
    width: int, explain: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    products = [match(LONG, 0.93, name="Arla Medium Fat Milk Ecological 1.5 %", price="12.90"), match("kiwi", 0.02)]
    lines = drawn(products, width, monkeypatch, capsys, explain=explain)
    assert len(lines) == 3
    assert lines[1].startswith(LONG)
    assert all(len(line) <= max(width, len(LONG)) for line in lines)
    assert ("93 %" in lines[1]) == (width >= len(LONG) + len("  93 %"))
    assert ("0.100" in lines[1]) == (explain and width == 80)


def test_a_wide_terminal_shows_all_that_explains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (heading, line) = drawn([match("kiwi", 0.93, title="Kiwi")], 200, monkeypatch, capsys, explain=True)
    assert heading.split() == ["product", "title", "sure", "score", "share", "votes", "distance", "evidence"]
    assert "one.jpg 0.100  two.jpg 0.200" in line


def test_columns_are_named_as_the_catalog_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_products([match("kiwi", name="Kiwi", title="Kiwi, green, class 1")])
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == ["product", "name"]
    assert line.split() == ["kiwi", "Kiwi"]


@pytest.mark.parametrize(("probability", "said"), [(0.0, "< 1 %"), (0.014, "1 %"), (0.93, "93 %"), (1.0, "> 99 %")])
def test_nobody_is_told_that_something_is_certain(probability: float, said: str) -> None:
    assert percent(probability) == said
