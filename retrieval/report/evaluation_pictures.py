"""The evaluation page's pictures: false positives, products taken for one another, misidentifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from retrieval.errors import ImageError
from retrieval.images.inline import data_uri
from retrieval.report.page import Markup, Section, card, cards, figure, groups, strip

if TYPE_CHECKING:
    from retrieval.evaluation.document import ConfusionDoc, EvaluationDoc, MatchDoc, ProbeDoc

Read = Callable[[str], bytes]

SHOWN_CONFUSIONS = 12
SHOWN_FAILURES = 12
SHOWN_FALSE_POSITIVES = 9
_EXAMPLES = 3
_VOTES = 3


class Album:
    """Draws pictures by name; each is decoded once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._drawn: dict[str, str | None] = {}

    def draw(self, name: str, caption: str, *, mark: bool = False) -> Markup:
        """A thumbnail, or a frame where the picture cannot be read any more."""
        if name not in self._drawn:
            try:
                self._drawn[name] = data_uri(self._read(name))
            except ImageError:
                self._drawn[name] = None
        return figure(self._drawn[name], caption, alt=name, mark=mark)


def false_positives(document: EvaluationDoc, probes: Album, gallery: Album) -> Markup:
    """Photos of unknown products with the verdict *match*, the highest score first; empty without any."""
    matched = (
        (p, p["as_stranger"]["matches"][0])
        for p in document["probes"]
        if p["as_stranger"] and p["as_stranger"]["verdict"] == "match"
    )
    worst = sorted(matched, key=lambda pair: -pair[1]["score"])
    if not worst:
        return Markup("")
    heading = Markup("<h3>{}</h3>").format("False positives: unknown products that got a match, highest scores first")
    return heading + cards(
        (_false_positive(*pair, probes, gallery) for pair in worst[:SHOWN_FALSE_POSITIVES]), narrow=True
    )


def _false_positive(probe: ProbeDoc, best: MatchDoc, probes: Album, gallery: Album) -> Markup:
    near = best["evidence"][0]
    return card(
        f"{probe['product']} taken for {best['product_id']}",
        groups(
            strip([probes.draw(probe["source"], "unknown product", mark=True)]),
            strip([gallery.draw(near["image"], f"{near['distance']:.3f}")]),
        ),
        tone="bad",
    )


def confusions(document: EvaluationDoc, probes: Album, gallery: Album) -> Section | None:
    """Pairs of products that are taken for one another, the commonest first; None without any."""
    confused = document["identification"]["confusions"]
    if not confused:
        return None
    body = cards((_confusion(c, probes, gallery) for c in confused[:SHOWN_CONFUSIONS]), narrow=True)
    total = document["identification"]["confused_pairs"]
    if total > SHOWN_CONFUSIONS:
        listed = "them" if total == len(confused) else f"the first {len(confused):,}"
        rest = f"and {total - SHOWN_CONFUSIONS:,} rarer pairs; --json lists {listed}."
        body += Markup('<p class="soft">{}</p>').format(rest)
    return Section("confused", "Products taken for one another", body, count=total)


def _confusion(confused: ConfusionDoc, probes: Album, gallery: Album) -> Markup:
    examples = confused["examples"][:_EXAMPLES]
    return card(
        f"{confused['product']} taken for {confused['taken_for']}",
        f"{confused['count']:,} of {confused['probes']:,} photos",
        groups(
            strip((probes.draw(e["photo"], "photo") for e in examples), heading=confused["product"]),
            strip(
                (gallery.draw(e["image"], f"{e['distance']:.3f}") for e in examples),
                heading=confused["taken_for"],
            ),
        ),
        tone="warn",
    )


def failures(document: EvaluationDoc, probes: Album, gallery: Album) -> Section | None:
    """Wrong answers, unambiguous ones first, with the pictures that voted; None without any."""
    wrong = [p for p in document["probes"] if p["known"] and p["matches"] and not p["right"]]
    worst = sorted(wrong, key=lambda p: (p["verdict"] != "match", -p["matches"][0]["score"]))
    if not worst:
        return None
    body = cards(_failure(p, probes, gallery) for p in worst[:SHOWN_FAILURES])
    return Section("failures", "Worst misidentifications, with their votes", body, count=len(wrong), tone="bad")


def _failure(probe: ProbeDoc, probes: Album, gallery: Album) -> Markup:
    truth = [probes.draw(probe["source"], probe["source"].rsplit("/", 1)[-1], mark=True)]
    if probe["own_image"] and probe["own_distance"] is not None:
        truth.append(gallery.draw(probe["own_image"], f"its nearest: {probe['own_distance']:.3f}"))
    columns = [strip(truth, heading=f"{probe['product']}, place {probe['rank'] or '–'}")]
    for match in probe["matches"][:_VOTES]:
        heading = f"{match['product_id']}: score {match['score']:.3f}, {match['votes']} votes"
        drawn = (gallery.draw(e["image"], f"{e['distance']:.3f}") for e in match["evidence"][:2])
        columns.append(strip(drawn, heading=heading))
    ambiguous = "" if probe["verdict"] == "match" else ", ambiguous"
    title = f"{probe['product']} taken for {probe['matches'][0]['product_id']}{ambiguous}"
    return card(title, groups(*columns), tone="bad" if not ambiguous else "warn")
