"""The evaluation as a page: the verdict on top, then what it rests on, then the photos behind it.

A pure view of the ``itemrec.evaluate/1`` document: no figure is computed here that the document
does not hold. Pictures are read again from the folders that it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.calibration.points import spoken
from retrieval.calibration.support import percent
from retrieval.catalog.fetched import locate
from retrieval.evaluation.numbers import counts, ends, in_percent, interval, number, plain_interval
from retrieval.evaluation.shown_rates import headings_of_views, rates_of_refusals, rates_of_views
from retrieval.images import pictures
from retrieval.metrics import EXPERIMENT_FAR
from retrieval.report import plots
from retrieval.report.evaluation_open_set import chosen_on, open_set_section
from retrieval.report.evaluation_pictures import Album, Read, confusions, failures
from retrieval.report.evaluation_served import served_section, served_tiles
from retrieval.report.page import (
    Markup,
    Section,
    Tile,
    Tone,
    bars,
    details,
    page,
    plot_row,
    table,
    wide_figure,
    write_page,
)
from retrieval.system.text import plural

if TYPE_CHECKING:
    from retrieval.evaluation.document import (
        AtFarDoc,
        EvaluationDoc,
        GroupDoc,
        PairsDoc,
    )

_FEW_WARNINGS = 6
_FEW_GROUPS = 40
_MOST_GROUPS = 300
_TONES: dict[str, Tone] = {"good": "good", "warn": "warn", "bad": "bad"}
_LOOKED = (("without", "before"), ("with it", "after"))


def write_report(path: Path, document: EvaluationDoc) -> None:
    """Write the page.

    Raises:
        UsageError: the place cannot be written, or the plotting library is missing.
    """
    photos, gallery = Path(document["data"]["folder"]), Path(document["gallery"]["folder"])
    write_page(
        path,
        evaluation_page(
            document,
            photo=lambda name: pictures.read_file(locate(photos, name)[0]),
            gallery=lambda name: pictures.read_file(locate(gallery, name)[0]),
        ),
    )


def evaluation_page(document: EvaluationDoc, *, photo: Read, gallery: Read) -> str:
    """The whole HTML document.

    Args:
        document: what `retrieval.evaluation.evaluate` returned.
        photo: the bytes of a photo of the split, by its path in the document; raises ImageError.
        gallery: the bytes of a gallery picture, likewise.
    """
    probes, store = Album(photo), Album(gallery)
    sections = [
        served_section(document),
        _thresholds(document),
        _identification(document),
        open_set_section(document, probes, store),
        _confidence(document),
        _views(document),
        _refusals(document),
        _closer_look(document),
        confusions(document, probes, store),
        failures(document, probes, store),
        _method(document),
    ]
    return page(
        f"Evaluation of {document['model']['name']} on {document['split']}",
        verdict=document["verdict"],
        tone=_TONES.get(document["tone"], "plain"),
        lead=[_lead(document), *_warnings(document)],
        tiles=_tiles(document),
        sections=[s for s in sections if s is not None],
        footer=f"itemrec {document['itemrec']}, {document['created']}, {document['seconds']:,.1f} s. Distances are "
        "squared L2 of unit vectors, 0 to 4; brackets are 95 % intervals, bootstrapped by product.",
    )


def _lead(document: EvaluationDoc) -> str:
    threshold = document["threshold"]
    chosen = f", chosen on {threshold['chosen_on']}" if threshold["chosen_on"] else ""
    name = "given by hand" if threshold["source"] == "given" else spoken(threshold["name"])
    return (
        f"{plural(document['photos'], 'photo')} of {plural(document['products'], 'product')} against a gallery of "
        f"{plural(document['gallery']['images'], 'picture')} of {plural(document['gallery']['products'], 'product')}. "
        f"Threshold {threshold['value']:.3f} ({name}{chosen})."
    )


def _warnings(document: EvaluationDoc) -> list[Markup]:
    count = len(document["warnings"])
    if not count:
        return []
    items = Markup("").join(Markup("<li>{}</li>").format(w) for w in document["warnings"])
    summary = f"{plural(count, 'caveat')}"
    return [details(summary, Markup("<ul>{}</ul>").format(items), unfolded=count <= _FEW_WARNINGS)]


def _tiles(document: EvaluationDoc) -> list[Tile]:
    identification, unknown, pairs = document["identification"], document["open_set"], document["pairs"]
    rates = identification["rates"]
    found = [
        Tile(in_percent(rates["top1"]["rate"]), f"right product first {ends(rates['top1'])}"),
        Tile(in_percent(rates["top5"]["rate"]), f"among the first five {ends(rates['top5'])}"),
    ]
    if served := served_tiles(document):
        return found + served
    return [
        *found,
        Tile(
            in_percent(unknown["rates"]["dir"]["rate"]),
            f"DIR: right product first, within the threshold {ends(unknown['rates']['dir'])}",
        ),
        Tile(
            in_percent(unknown["fpir"]),
            f"FPIR: unknown products that get a match {ends(unknown['rates']['fpir'])}",
            "bad" if (unknown["fpir"] or 0) > 0.2 else "plain",
        ),
        Tile(in_percent(pairs["eer"], 1), f"equal error rate of all pairs {interval(pairs['eer_ci'], 1)}"),
    ]


def _thresholds(document: EvaluationDoc) -> Section:
    pairs, threshold = document["pairs"], document["threshold"]["value"]
    points: list[tuple[str, AtFarDoc]] = [
        ("the threshold in use", pairs["at_threshold"]),
        *[(f"FAR {percent(float(target))}", at) for target, at in pairs["at_far"].items()],
        (f"highest VAL with FAR < {percent(EXPERIMENT_FAR)}", pairs["experiment"]),
    ]
    rows = [
        [
            name,
            number(at["threshold"]),
            f"{in_percent(at['val'])} {interval(at['val_ci'])}",
            f"{at['accepted_same']:,} / {pairs['same']:,}",
            f"{in_percent(at['far'], 2)} {interval(at['far_ci'], 2)}",
            f"{at['accepted_different']:,} / {pairs['different']:,}",
            chosen_on(at),
        ]
        for name, at in points
    ]
    headings = ["", "threshold", "VAL", "genuine pairs", "FAR", "impostor pairs", "chosen on"]
    sweep = [
        [
            f"{p['threshold']:.2f}",
            in_percent(p["val"]),
            in_percent(p["far"], 2),
            f"{p['accepted_same']:,}",
            f"{p['accepted_different']:,}",
        ]
        for p in pairs["sweep"]
    ]
    body = [
        plot_row(
            wide_figure(plots.val_far(pairs, threshold), "VAL and FAR over all pairs of the split."),
            _roc(pairs),
            wide_figure(
                plots.distances(pairs, threshold), "Genuine and impostor distances, and the threshold between them."
            ),
            table(
                ["threshold", "VAL", "FAR", "genuine", "impostor"],
                sweep,
                numeric=(0, 1, 2, 3, 4),
                caption=f"Pairs accepted, of {pairs['same']:,} genuine and {pairs['different']:,} impostor pairs.",
                compact=True,
            ),
        ),
        table(headings, rows, numeric=(1, 2, 3, 4, 5), label="Thresholds"),
    ]
    return Section("pairs", "Verification: all pairs of photos", Markup("").join(body))


def _roc(pairs: PairsDoc) -> Markup:
    if pairs["auc"] is None:
        return Markup("<p>{}</p>").format("A ROC curve needs genuine and impostor pairs.")
    return wide_figure(plots.roc(pairs), f"ROC of all pairs: AUC {number(pairs['auc'], 4)}.")


def _identification(document: EvaluationDoc) -> Section:
    found = document["identification"]
    names = {
        "top1": "right product first, by votes",
        "top5": "among the first five, by votes",
        "knn_top1": "nearest picture is of the right product",
        "matching_test_top5": "matching test: one picture a product, first five within the threshold",
    }
    rows = [
        [
            label,
            in_percent(found["rates"][key]["rate"]),
            interval(found["rates"][key]["ci"]),
            counts(found["rates"][key]),
        ]
        for key, label in names.items()
    ]
    precision = found["rates"]["map_at_r"]
    rows.append(
        [
            "MAP@R, by the nearest pictures",
            in_percent(precision["rate"]),
            ends(precision),
            f"mean of {precision['whole']:,}",
        ]
    )
    parts = [
        plot_row(
            wide_figure(plots.cmc(found), f"Distinct products, gallery of {plural(found['gallery'], 'product')}."),
            table(["", "rate", "95 % interval", "photos"], rows, numeric=(1, 2, 3), label="Identification"),
        ),
    ]
    if found["per_category"]:
        parts.append(_grouped(f"By {found['category_column']}, worst first", found["per_category"]))
    parts.append(_grouped("By product, worst first", found["per_product"]))
    return Section("identification", "Identification: which product is it", Markup("").join(parts))


def _grouped(title: str, found: Sequence[GroupDoc]) -> Markup:
    ordered = sorted(found, key=lambda g: (g["rate"] if g["rate"] is not None else 2.0, -g["whole"], g["name"]))
    rows = [(g["name"] or "(none)", g["rate"], counts(g)) for g in ordered]
    shown = bars(rows[:_MOST_GROUPS], label=title)
    if len(rows) > _MOST_GROUPS:
        shown += Markup('<p class="soft">{}</p>').format(f"and {len(rows) - _MOST_GROUPS:,} more; --json lists them.")
    return details(f"{title} ({len(rows):,})", shown, unfolded=len(rows) <= _FEW_GROUPS)


def _confidence(document: EvaluationDoc) -> Section | None:
    confidence = document["confidence"]
    if confidence is None:
        return None
    about = (
        f"Fitted on {confidence['fitted_on']}, measured on {plural(confidence['answers'], 'answer')} here: expected "
        f"calibration error {in_percent(confidence['ece'], 1)}, of which so few answers make "
        f"{in_percent(confidence['ece_by_chance'], 1)} by chance; Brier score {number(confidence['brier'])} "
        f"{plain_interval(confidence['brier_ci'])}. {in_percent(confidence['strangers'])} of the "
        "photos tried show unknown products."
    )
    rows = [
        [
            f"{100 * b['low']:.0f} to {100 * b['high']:.0f} %",
            in_percent(b["mean_confidence"]),
            in_percent(b["right"]["rate"]),
            interval(b["right"]["ci"]),
            counts(b["right"]),
        ]
        for b in confidence["bins"]
        if b["right"]["whole"]
    ]
    body = plot_row(
        wide_figure(
            plots.reliability(
                [
                    plots.ReliabilityPoint(b["mean_confidence"], b["right"]["rate"], b["right"]["ci"])
                    for b in confidence["bins"]
                    if b["mean_confidence"] is not None and b["right"]["rate"] is not None
                ]
            ),
            about,
        ),
        table(
            ["claimed", "mean", "right", "95 %", "answers"],
            rows,
            numeric=(1, 2, 3, 4),
            label="Reliability",
            compact=True,
        ),
    )
    return Section("confidence", "Confidence: does 80 % mean 80 %?", body)


def _views(document: EvaluationDoc) -> Section | None:
    views = document["views"]
    if views is None:
        return None
    rows = [
        [
            str(row["photos"]),
            f"{row['items']:,}",
            *(f"{in_percent(r['rate'])} {interval(r['ci'])}" for r in (row["top1"], *rates_of_views(row))),
            in_percent(row["apart"]["rate"]) if row["apart"] else "",
        ]
        for row in views["rows"]
    ]
    about = (
        f"Photos of one product, drawn from {plural(views['products'], 'product')}, stand for photos of one item; "
        "their vectors are averaged. Unknown: the product's own pictures are left out."
    )
    headings = ["photos", "items", "right product first", *headings_of_views(views), "said apart"]
    body = table(headings, rows, numeric=(1, 2, 3, 4, 5), caption=about)
    return Section("views", "Several photos of one item", body)


def _closer_look(document: EvaluationDoc) -> Section | None:
    looked = document.get("closer_look")
    if looked is None:
        return None
    top1 = looked["top1"]
    rows = [[when, f"{in_percent(top1[key]['rate'])} ({counts(top1[key])})"] for when, key in _LOOKED]
    about = (
        f"{in_percent(looked['close']['rate'])} of {plural(looked['photos'], 'photo')} are close calls, whose products "
        f"are looked for in the photo: {looked['mended']:,} are right for it, {looked['spoiled']:,} wrong. All other "
        "figures on this page are without."
    )
    body = table(["", "right product first"], rows, numeric=(1,), caption=about)
    return Section("closer-look", "A closer look at close calls", body)


def _refusals(document: EvaluationDoc) -> Section | None:
    refusals = document["refusals"]
    if refusals is None:
        return None
    rows = [
        [name, *(f"{in_percent(rate['rate'])} ({counts(rate)})" for rate in (before, after))]
        for name, before, after in rates_of_refusals(refusals)
    ]
    acting = [[e["image"], e["note"], f"{e['unknown']:,}", f"{e['known']:,}"] for e in refusals["each"]]
    about = (
        f"The index refuses {plural(refusals['pictures'], 'picture')}. All other figures on this page are without them"
        + (
            f"; {plural(refusals['same_photos'], 'photo')} refused themselves are not counted here."
            if refusals["same_photos"]
            else "."
        )
    )
    body = table(["", "without", "with them"], rows, numeric=(1, 2), caption=about)
    body += details(
        f"Each picture ({len(acting):,})",
        table(
            ["picture", "note", "unknown photos refused", "known photos refused"],
            acting,
            numeric=(2, 3),
            label="What each refused picture changed",
        ),
        unfolded=len(acting) <= _FEW_GROUPS,
    )
    return Section("refusals", "Not ours: what the refused pictures cost and save", body)


def _method(document: EvaluationDoc) -> Section:
    excluded, data, gallery, use = document["excluded"], document["data"], document["gallery"], document["threshold"]
    rows = [
        ["model", f"{document['model']['name']}, fingerprint {document['model']['fingerprint'][:12]}"],
        ["photos", f"{data['folder']}: {data['found']:,} readable, {len(data['refused']):,} refused"],
        ["gallery", f"{gallery['source']}, {gallery['location']}: {gallery['refused']:,} refused"],
        ["threshold", f"{document['threshold']['value']:.4f}" + (f": {use['note']}" if use["note"] else "")],
        [
            "excluded",
            f"{excluded['same_hash']:,} photos that the gallery holds, {excluded['near_duplicate']:,} nearly the same "
            f"as one of its pictures (up to {excluded['max_bits']} of 64 bits of a perceptual hash differ), "
            f"{excluded['repeated']:,} repeated in the split",
        ],
        ["pairs", f"{document['pairs']['same']:,} genuine, {document['pairs']['different']:,} impostor; all of them"],
    ]
    return Section("method", "What was measured", table(["", ""], rows, label="What was measured"))
