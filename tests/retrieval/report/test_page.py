"""The shared page: well-formed, escaped, with nothing to fetch."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from retrieval.errors import UsageError
from retrieval.images.inline import data_uri
from retrieval.report.page import (
    Markup,
    Section,
    Tile,
    card,
    cards,
    details,
    figure,
    groups,
    page,
    strip,
    table,
    wide_figure,
    write_page,
)
from tests.pictures import samples

VOID = {"meta", "img", "br"}
EVIL = '"><script>alert("x")</script>&amp;'


class Checker(HTMLParser):
    """Every element is closed where it was opened; remembers text, elements and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def everything(text: str) -> str:
    shown = figure(data_uri(samples()["jpeg"]), text, alt=text, mark=True)
    body = cards(
        [
            card(
                text, text, groups(strip([shown, figure(None, text, alt=text, missing=text)], heading=text)), tone="bad"
            )
        ],
        narrow=True,
    )
    sections = [
        Section("one", text, body, count=1234, tone="warn"),
        Section(
            "two", text, table([text, text], [[text, Markup("<b>{}</b>").format(text)]], numeric=[1], caption=text)
        ),
        Section("three", text, details(text, wide_figure(Markup("<svg></svg>"), text))),
    ]
    return page(text, verdict=text, lead=[text], tiles=[Tile(text, text)], sections=sections, footer=text)


def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def test_what_goes_in_as_text_comes_out_as_text() -> None:
    plain, evil = checked(everything("harmless")), checked(everything(EVIL))
    assert [tag for tag, _ in evil.elements] == [tag for tag, _ in plain.elements]
    assert [list(attributes) for _, attributes in evil.elements] == [list(a) for _, a in plain.elements]
    assert evil.text.count(EVIL) == plain.text.count("harmless") > 15


def test_nothing_is_fetched() -> None:
    checker = checked(everything("harmless"))
    for tag, attributes in checker.elements:
        assert tag not in ("script", "link", "iframe", "object", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "#").startswith("#")
    (policy,) = [a["content"] for _, a in checker.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:")


def test_a_reader_without_eyes_finds_the_way() -> None:
    elements = checked(everything("harmless")).elements
    identifiers = {a["id"] for _, a in elements if "id" in a}
    links = {(a["href"] or "")[1:] for tag, a in elements if tag == "a"}
    assert links <= identifiers
    assert {a["aria-labelledby"] for tag, a in elements if tag == "section"} <= identifiers
    assert all(a.get("alt") for tag, a in elements if tag == "img")
    assert [a.get("lang") for tag, a in elements if tag == "html"] == ["en"]
    assert [tag for tag, _ in elements if tag == "h1"] == ["h1"]


def test_a_page_is_written_whole_even_with_broken_names(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    write_page(target, page("caf\udce9", verdict="done"))
    assert b"caf\\udce9" in target.read_bytes()
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("place", ["no/such/place.html", "."])
def test_a_place_that_cannot_be_written_is_wrong_usage(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="Cannot write the report to"):
        write_page(Path(place), "<p>")
