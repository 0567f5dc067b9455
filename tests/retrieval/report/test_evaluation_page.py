"""The evaluation page is a view of its document: self-contained, escaped, honest about what is missing."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup
from PIL import Image

from retrieval.errors import ImageError, UsageError
from retrieval.report import plots
from retrieval.report.evaluation import evaluation_page, write_report
from tests.evaluate_example import example_document


@pytest.fixture(autouse=True, scope="module")
def _a_plot_is_drawn_once() -> Iterator[None]:
    """Pages differ in their words; what plots show is the same on most, and drawing it takes a second a page."""
    drawn: dict[str, Markup] = {}

    def remembered(draw: Callable[..., Markup]) -> Callable[..., Markup]:
        def draw_once(*data: object) -> Markup:
            key = f"{draw.__name__} {data}"
            if key not in drawn:
                drawn[key] = draw(*data)
            return drawn[key]

        return draw_once

    with pytest.MonkeyPatch.context() as patch:
        for name in ("val_far", "distances", "roc", "cmc", "reliability", "open_set", "coverage"):
            patch.setattr(plots, name, remembered(getattr(plots, name)))
        yield


@pytest.fixture(scope="module")
def document() -> Any:
    return example_document()


@pytest.fixture(scope="module")
def page(document: Any) -> str:
    """The page with all its plots, which takes a second to draw."""
    return evaluation_page(document, photo=jpeg, gallery=jpeg)


def jpeg(name: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (len(name) % 255, 90, 160)).save(out, "JPEG")
    return out.getvalue()


def gone(name: str) -> bytes:
    raise ImageError(f"expected a picture, received nothing at {name}", reason="missing")


def test_verdict_counts_and_pictures_are_on_the_page(document: Any, page: str) -> None:
    html = page
    assert f">{document['verdict']}</p>" in html.replace("\xa0", " ")
    text = re.sub(r"<[^>]+>", " ", html)
    assert f"{document['photos']:,} photos of {document['products']:,} products" in text
    at = document["pairs"]["at_threshold"]
    assert f"{at['accepted_same']:,} / {document['pairs']['same']:,}" in text
    assert "data:image/jpeg;base64," in html
    for warning in document["warnings"]:
        assert warning[:40] in text


def test_nothing_is_fetched_and_plots_follow_the_colors_of_the_page(page: str) -> None:
    html = page
    assert html.count("<svg") >= 5
    assert "var(--accent)" in html
    assert "#040404" not in html
    references = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]+)', html)
    assert references
    assert all(r.startswith(("data:", "#")) for r in references), [r for r in references if not r.startswith("data:")]
    assert "<script" not in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(set(re.findall(r"<section id=\"([^\"]+)\"", html))) == html.count("<section ")
    assert len(ids) > 10


def test_names_from_outside_are_text(document: Any) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    changed = {
        **document,
        "verdict": hostile,
        "warnings": [hostile],
        "model": {**document["model"], "name": hostile},
        "probes": [{**p, "product": hostile, "source": hostile} for p in document["probes"]],
    }
    html = evaluation_page(changed, photo=jpeg, gallery=jpeg)
    assert "<img src=x" not in html
    assert "&lt;img src=x" in html


def test_pictures_that_are_gone_leave_a_frame(document: Any) -> None:
    html = evaluation_page(document, photo=gone, gallery=gone)
    assert "data:image/jpeg" not in html
    assert 'class="gone"' in html


def test_a_document_without_confidence_or_errors_has_no_such_sections(document: Any) -> None:
    bare = {
        **document,
        "confidence": None,
        "identification": {**document["identification"], "confusions": []},
        "probes": [{**p, "right": True} for p in document["probes"]],
    }
    html = evaluation_page(bare, photo=jpeg, gallery=jpeg)
    assert 'id="confidence"' not in html
    assert 'id="confused"' not in html
    assert 'id="failures"' not in html
    assert 'id="open-set"' in html


def test_a_place_that_cannot_be_written_is_wrong_usage(
    document: Any, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("retrieval.report.evaluation.evaluation_page", lambda *_, **__: page)
        with pytest.raises(UsageError, match="report"):
            write_report(tmp_path / "nowhere" / "report.html", document)
    write_report(tmp_path / "report.html", document)
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
