"""The reports as a phone and a desk show them: nothing sticks out, nothing is squeezed to a letter a line."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retrieval.audit.findings import AuditReport, Finding, Settings, Shown
from retrieval.evaluation import Photos, evaluate
from retrieval.report.audit_page import audit_page
from retrieval.report.evaluation import evaluation_page
from tests.browser.chromium import measured, needs_chromium
from tests.evaluate_example import clusters, example_document
from tests.retrieval.evaluation.test_evaluate import setting

pytestmark = needs_chromium

NAMES = (
    "A very long product name that goes on: fair trade whole bean coffee, 1000 g, limited winter edition",
    "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft" * 2,
    "<script>document.body.innerHTML = 'gone'</script>",
    '"><img src=x onerror="document.body.remove()">',
    "牛乳 低脂肪 一リットル",
    "حليب قليل الدسم",
    "right \u202e to left",
)

LAYOUT = """
  const width = document.documentElement.clientWidth, out = [];
  const lines = el => el.getClientRects().length ? el.getBoundingClientRect().height / 16 : 0;
  for (const el of document.querySelectorAll("body *")) {
    const box = el.getBoundingClientRect();
    // A table may scroll inside its own frame; everything else has to fit.
    if (box.width && box.right > width + 1 && !el.closest(".scroll") && !el.closest("svg") && !el.matches(".skip"))
      out.push(el.tagName + "." + el.className + " " + Math.round(box.right) + ": " + el.textContent.slice(0, 40));
  }
  const thin = [...document.querySelectorAll("th, td, h3, .name, figcaption, p, li > b")].filter(el => {
    const box = el.getBoundingClientRect();
    return el.textContent.trim().length > 8 && box.width && box.width < 40 && box.height > 60;
  }).map(el => el.tagName + ": " + el.textContent.slice(0, 40));
  return {width, scroll: document.documentElement.scrollWidth, out, thin,
          sections: document.querySelectorAll("section").length, images: document.querySelectorAll("[src=x]").length};
"""


def jpeg(name: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (60, 45), (len(name) % 255, 90, 160)).save(out, "JPEG")
    return out.getvalue()


def hostile() -> Any:
    """Products of every kind of name, most of them confused."""

    def named(photos: Photos) -> Photos:
        labels = np.array([NAMES[int(label[1:])] for label in photos.labels.tolist()])
        sources = tuple(f"{name}/{i}.jpg" for i, name in enumerate(labels.tolist()))
        return replace(photos, labels=labels, sources=sources, metadata={n: {"category": n} for n in NAMES})

    gallery, test = (named(clusters(len(NAMES), 5, noise=0.5, seed=seed)) for seed in (1, 2))
    return evaluate(test, gallery, setting(threshold=1.5))


def one_product() -> Any:
    return evaluate(clusters(1, 2, noise=0.1, seed=2), clusters(1, 2, noise=0.1, seed=1), setting())


def many_products() -> Any:
    return evaluate(clusters(500, 2, noise=0.2, seed=2), clusters(500, 2, noise=0.2, seed=1), setting(threshold=0.8))


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("make", [example_document, hostile, one_product, many_products])
def test_an_evaluation_fits_its_window(make: Any, width: int) -> None:
    html = evaluation_page(make(), photo=jpeg, gallery=jpeg)
    fits(measured(html, LAYOUT, size=(width, 900)), width)


@pytest.mark.parametrize("width", [390, 1280])
def test_an_audit_fits_its_window(width: int) -> None:
    def shown(name: str, role: Any = "subject", distance: float | None = None) -> Shown:
        return Shown(name, f"{name}/1.jpg", role, distance)

    findings = [
        Finding(
            kind,
            severity,
            (a, b),
            f"{a} and {b}: something is wrong",
            1.0,
            {"pictures": 2},
            (shown(a), shown(b, "other", 0.3)),
        )
        for kind, severity in (
            ("unreadable", "error"),
            ("same-picture", "error"),
            ("mislabeled", "warning"),
            ("indistinguishable", "info"),
            ("few-views", "warning"),
            ("no-pictures", "error"),
        )
        for a, b in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True)
    ]
    report = AuditReport("/shop/catalog", "starter", "f" * 64, Settings(0.3), 20, 7, tuple(findings))  # type: ignore[arg-type]
    html = audit_page(report, jpeg, version="1", created="today")
    fits(measured(html, LAYOUT, size=(width, 900)), width)


def fits(layout: Any, width: int) -> None:
    assert layout["width"] == width
    assert layout["scroll"] <= width, layout["out"]
    assert layout["out"] == []
    assert layout["thin"] == []
    assert layout["sections"] >= 3
    assert layout["images"] == 0, "a name became an element"
