"""Fragments for notebooks: well-formed, escaped."""

from html.parser import HTMLParser

from markupsafe import Markup

from retrieval.system.html import fragment, items, row, table

EVIL = '"><script>alert("x")</script>&amp;'


class Checker(HTMLParser):
    """Every element is closed where it was opened; remembers text and tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def everything(text: str) -> str:
    blocks = row([Markup("<b>{}</b>").format(text)])
    return fragment(
        text, text, table([text, text], [[text, Markup("<i>{}</i>").format(text)]], numeric=[1]), blocks, items([text])
    )


def test_what_goes_in_as_text_comes_out_as_text() -> None:
    plain, evil = Checker(everything("harmless")), Checker(everything(EVIL))
    assert evil.tags == plain.tags
    assert evil.text.count(EVIL) == plain.text.count("harmless") == 8


def test_a_name_does_not_turn_the_text_around_it() -> None:
    assert fragment("a\u202eb") == "<div><p><strong>a\\u202eb</strong></p></div>"


def test_what_is_empty_is_left_out() -> None:
    assert fragment("one", "", items([])) == "<div><p><strong>one</strong></p></div>"
