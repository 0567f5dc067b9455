"""The plots of the evaluation report: matplotlib drawings as inline SVG that follows the page's colors.

Text stays text (selectable, set in the page's font) and colors become the page's CSS variables,
so that one drawing is right in light, in dark and on paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from retrieval.errors import UsageError
from retrieval.system.installation import install_hint, missing
from retrieval.system.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retrieval.evaluation.document import (
        AmbiguousDoc,
        IdentificationDoc,
        OpenSetDoc,
        PairsDoc,
    )

# Stand-ins that matplotlib writes out and `_themed` turns into the page's variables.
INK, SOFT, LINE, ACCENT, GOOD, BAD, WARN = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606", "#070707"
_VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    LINE: "--line",
    ACCENT: "--accent",
    GOOD: "--good",
    BAD: "--bad",
    WARN: "--warn",
}
_SIZE = (5.2, 3.5)
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}

Axes = Any


@contextmanager
def _figure(name: str, drawn: list[Markup]) -> Iterator[Axes]:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError(
            missing("Matplotlib", "the report", error),
            hint=install_hint("report"),
        ) from error
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # The salt makes ids differ between the plots of one page and equal between two runs.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        yield figure.add_subplot()
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    drawn.append(_themed(out.getvalue(), name))


def _themed(svg: str, name: str) -> Markup:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 role="img" aria-label="{name}"', svg, count=1)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    # matplotlib wrote it from numbers and from texts of ours: no name from outside is drawn.
    return Markup(svg)


def _draw(name: str, paint: Callable[[Axes], None]) -> Markup:
    drawn: list[Markup] = []
    with _figure(name, drawn) as axes:
        paint(axes)
    return drawn[0]


def _threshold_line(axes: Axes, threshold: float, *, top: bool = False) -> None:
    """Draw it after the curves: its text goes to the side where there is room."""
    axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    first, last = axes.get_xlim()
    left = threshold > first + 0.7 * (last - first)
    axes.annotate(
        f"threshold {threshold:.3f}",
        (threshold, 0.99 if top else 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if left else 4, 0),
        textcoords="offset points",
        fontsize=9,
        ha="right" if left else "left",
        va="top" if top else "bottom",
    )


def val_far(pairs: PairsDoc, threshold: float) -> Markup:
    """VAL and FAR against the threshold, over all pairs; one of them where only that can be measured."""
    points = pairs["roc"]

    def paint(axes: Axes) -> None:
        _line(axes, [(p["threshold"], p["val"]) for p in points], GOOD, "VAL: genuine pairs accepted")
        _line(axes, [(p["threshold"], p["far"]) for p in points], BAD, "FAR: impostor pairs accepted")
        _threshold_line(axes, threshold)
        _rates(axes, "squared L2 distance", "pairs accepted")
        _legend(axes)

    return _draw("VAL and FAR against the threshold", paint)


def roc(pairs: PairsDoc) -> Markup:
    """VAL against FAR, FAR on a logarithmic axis: shops live at its left end."""
    points = [(far, val) for p in pairs["roc"] if (val := p["val"]) is not None and (far := p["far"])]
    marks = [(far, val) for p in pairs["at_far"].values() if (val := p["val"]) is not None and (far := p["far"])]
    least = max(1e-5, min((far for far, _ in points), default=1e-5))

    def paint(axes: Axes) -> None:
        _line(axes, points, ACCENT, "")
        by_chance = [far for far, _ in points]
        axes.plot(by_chance, by_chance, color=SOFT, linewidth=1, linestyle=":")
        axes.set_xscale("log")
        axes.set_xlim(least, 1)
        for far, val in marks:
            axes.plot([far], [val], "o", color=INK, markersize=5)
            right = far < least**0.65  # in the left third of the logarithmic axis
            axes.annotate(
                f"VAL {val:.0%} at FAR {100 * far:.2g}%",
                (far, val),
                xytext=(7, -10) if right else (-7, 3),
                textcoords="offset points",
                fontsize=9,
                ha="left" if right else "right",
            )
        _rates(axes, "FAR (logarithmic)", "VAL")

    return _draw("ROC: VAL against FAR", paint)


def distances(pairs: PairsDoc, threshold: float) -> Markup:
    """Distances of genuine and of impostor pairs; each area is one."""
    histogram = pairs["histogram"]
    edges = histogram["edges"]

    def paint(axes: Axes) -> None:
        for counts, color, label in (
            (histogram["same"], GOOD, f"genuine ({plural(pairs['same'], 'pair')})"),
            (histogram["different"], BAD, f"impostor ({plural(pairs['different'], 'pair')})"),
        ):
            total = sum(counts) or 1
            width = edges[1] - edges[0]
            density = [n / total / width for n in counts]
            axes.stairs(density, edges, color=color, fill=True, alpha=0.25)
            axes.stairs(density, edges, color=color, label=label, linewidth=1.5)
        last = max((i for i, n in enumerate(histogram["different"]) if n), default=len(edges) - 2)
        axes.set_xlim(0, max(edges[min(last + 2, len(edges) - 1)], 1.05 * threshold))
        _threshold_line(axes, threshold, top=True)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("squared L2 distance")
        axes.set_ylabel("density")
        _legend(axes)

    return _draw("Genuine and impostor distances", paint)


def cmc(identification: IdentificationDoc) -> Markup:
    """Cumulative match characteristic: the right product among the first k."""

    def paint(axes: Axes) -> None:
        for curve, color, label in (
            (identification["by_votes"], ACCENT, "by votes"),
            (identification["cmc"], SOFT, "by the nearest picture"),
        ):
            ys = [y for y in curve if y is not None]
            axes.plot(range(1, len(ys) + 1), ys, color=color, marker="o", markersize=3, label=label)
        _rates(axes, "first k products", "part of the photos found")
        axes.set_xlim(0.5, 20.5)
        axes.set_xticks([1, 5, 10, 15, 20])
        _legend(axes)

    return _draw("CMC: the right product among the first k", paint)


def open_set(document: OpenSetDoc, threshold: float) -> Markup:
    """What the threshold does to photos of known products (DIR) and of unknown ones (FPIR)."""
    points = document["curve"]

    def paint(axes: Axes) -> None:
        _line(axes, [(p["threshold"], p["dir"]) for p in points], GOOD, "DIR: known products found first")
        _line(axes, [(p["threshold"], p["fpir"]) for p in points], BAD, "FPIR: unknown products matched")
        _threshold_line(axes, threshold)
        _rates(axes, "squared L2 distance to the nearest picture", "part of the photos")
        _legend(axes)

    return _draw("DIR and FPIR against the threshold", paint)


def coverage(ambiguous: AmbiguousDoc) -> Markup:
    """Accuracy when only the clearest answers are given."""
    points = ambiguous["coverage"]

    def paint(axes: Axes) -> None:
        axes.plot([p["coverage"] for p in points], [p["accuracy"] for p in points], color=ACCENT)
        accuracy, kept = ambiguous["match"]["rate"], ambiguous["coverage_of_match"]["rate"]
        if accuracy is not None and kept is not None:
            axes.plot([kept], [accuracy], "o", color=INK, markersize=6)
            axes.annotate(
                f"verdict match: {accuracy:.0%} right",
                (kept, accuracy),
                xytext=(-8, -14),
                textcoords="offset points",
                fontsize=9,
                ha="right",
            )
        _rates(axes, "coverage: part of the photos answered with a match", "accuracy of those answers")
        axes.set_xlim(0, 1.02)
        _percent_axis(axes.xaxis)

    return _draw("Accuracy against coverage", paint)


def reliability(bins: Sequence[ReliabilityPoint], name: str = "Reliability: claimed against measured") -> Markup:
    """Claimed against measured: on the diagonal, 80 % means 80 %.

    Args:
        bins: those that hold photos.
        name: of the drawing.
    """

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1, linestyle=":")
        for b in bins:
            if b.ends:
                axes.plot([b.claimed] * 2, b.ends, color=ACCENT, linewidth=1)
        axes.plot([b.claimed for b in bins], [b.true for b in bins], "o-", color=ACCENT)
        _rates(axes, "claimed probability", "part for which it is true")
        axes.set_xlim(0, 1)
        _percent_axis(axes.xaxis)

    return _draw(name, paint)


class ReliabilityPoint(NamedTuple):
    """Photos of like claims.

    Attributes:
        claimed: mean probability.
        true: the part for which it was true.
        ends: of its interval; None without one.
    """

    claimed: float
    true: float
    ends: list[float] | None


def _line(axes: Axes, points: Sequence[tuple[float | None, float | None]], color: str, label: str) -> None:
    """A line through what could be measured; nothing, not even in the legend, where nothing could."""
    measured = [(x, y) for x, y in points if x is not None and y is not None]
    if measured:
        axes.plot(*zip(*measured, strict=True), color=color, label=label, marker="o" if len(measured) == 1 else None)


def _legend(axes: Axes) -> None:
    # Above the axes, where it covers no data.
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9, handlelength=1.4, borderpad=0)


def _rates(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_ylim(0, 1.02)
    _percent_axis(axes.yaxis)


def _percent_axis(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


__all__: Sequence[str] = [
    "ReliabilityPoint",
    "cmc",
    "coverage",
    "distances",
    "open_set",
    "reliability",
    "roc",
    "val_far",
]
