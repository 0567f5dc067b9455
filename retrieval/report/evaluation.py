"""The evaluation as a page: the verdict on top, then what it rests on, then the photos behind it.

A pure view of the ``itemrec.evaluate/1`` document: no figure is computed here that the document
does not hold. Pictures are read again from the folders that it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval import images
from retrieval.evaluation.summary import percent, spoken
from retrieval.metrics import EXPERIMENT_FAR
from retrieval.report import plots
from retrieval.report.evaluation_pictures import Album, Read, confusions, failures, named_strangers
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

if TYPE_CHECKING:
    from retrieval.evaluation.document import (
        AmbiguousDoc,
        AtFarDoc,
        EvaluationDoc,
        GroupDoc,
        OpenSetPointDoc,
        RateDoc,
    )

_FEW_WARNINGS = 4
_FEW_GROUPS = 40
_MOST_GROUPS = 300
_TONES: dict[str, Tone] = {"good": "good", "warn": "warn", "bad": "bad"}


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
            photo=lambda name: images.read_file(photos / name),
            gallery=lambda name: images.read_file(gallery / name),
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
        _thresholds(document),
        _identification(document),
        _strangers(document, probes, store),
        _confidence(document),
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
        f"{document['photos']:,} photos of {document['products']:,} products against a gallery of "
        f"{document['gallery']['images']:,} pictures of {document['gallery']['products']:,} products. "
        f"Threshold {threshold['value']:.3f} ({name}{chosen})."
    )


def _warnings(document: EvaluationDoc) -> list[Markup]:
    count = len(document["warnings"])
    if not count:
        return []
    items = Markup("").join(Markup("<li>{}</li>").format(w) for w in document["warnings"])
    summary = f"{count} thing{'' if count == 1 else 's'} to know before trusting this"
    return [details(summary, Markup("<ul>{}</ul>").format(items), unfolded=count <= _FEW_WARNINGS)]


def _tiles(document: EvaluationDoc) -> list[Tile]:
    identification, unknown, pairs = document["identification"], document["open_set"], document["pairs"]
    rates = identification["rates"]
    return [
        Tile(_percent(rates["top1"]["rate"]), f"right product first {_ends(rates['top1'])}"),
        Tile(_percent(rates["top5"]["rate"]), f"among the first five {_ends(rates['top5'])}"),
        Tile(
            _percent(unknown["rates"]["dir"]["rate"]),
            f"first and within the threshold {_ends(unknown['rates']['dir'])}",
        ),
        Tile(
            _percent(unknown["fpir"]),
            f"of strangers get a name {_ends(unknown['rates']['fpir'])}",
            "bad" if (unknown["fpir"] or 0) > 0.2 else "plain",
        ),
        Tile(_percent(pairs["eer"], 1), f"equal error rate of all pairs {_interval(pairs['eer_ci'], 1)}"),
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
            _number(at["threshold"]),
            f"{_percent(at['val'])} {_interval(at['val_ci'])}",
            f"{at['accepted_same']:,} / {pairs['same']:,}",
            f"{_percent(at['far'], 2)} {_interval(at['far_ci'], 2)}",
            f"{at['accepted_different']:,} / {pairs['different']:,}",
            _chosen_on(at),
        ]
        for name, at in points
    ]
    headings = ["", "threshold", "VAL", "same pairs", "FAR", "different pairs", "chosen on"]
    sweep = [
        [
            f"{p['threshold']:.2f}",
            _percent(p["val"]),
            _percent(p["far"], 2),
            f"{p['accepted_same']:,}",
            f"{p['accepted_different']:,}",
        ]
        for p in pairs["sweep"]
    ]
    body = [
        plot_row(
            wide_figure(plots.val_far(pairs, threshold), "VAL and FAR over all pairs of the split."),
            wide_figure(plots.roc(pairs), f"ROC of all pairs: AUC {_number(pairs['auc'], 4)}."),
            wide_figure(plots.distances(pairs, threshold), "What the threshold separates."),
            table(
                ["threshold", "VAL", "FAR", "same", "different"],
                sweep,
                numeric=(0, 1, 2, 3, 4),
                caption=f"Pairs accepted, of {pairs['same']:,} the same and {pairs['different']:,} different.",
                compact=True,
            ),
        ),
        table(headings, rows, numeric=(1, 2, 3, 4, 5), label="Thresholds"),
    ]
    return Section("pairs", "Same or different: all pairs", Markup("").join(body))


def _chosen_on(at: AtFarDoc | OpenSetPointDoc) -> str:
    where = f"{at['chosen_on']} (flatters)" if at["same_photos"] else at["chosen_on"] or "by hand"
    # Without a target the refusal is a remark about the threshold, which the warnings tell.
    return f"{where}; too few photos here to tell" if at["refusal"] and at["target"] is not None else where


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
            _percent(found["rates"][key]["rate"]),
            _interval(found["rates"][key]["ci"]),
            _counts(found["rates"][key]),
        ]
        for key, label in names.items()
    ]
    precision = found["rates"]["map_at_r"]
    rows.append(
        [
            "MAP@R, by the nearest pictures",
            _percent(precision["rate"]),
            _ends(precision),
            f"mean of {precision['whole']:,}",
        ]
    )
    parts = [
        plot_row(
            wide_figure(plots.cmc(found), f"Distinct products, gallery of {found['gallery']:,} products."),
            table(["", "rate", "95 % interval", "photos"], rows, numeric=(1, 2, 3), label="Identification"),
        ),
    ]
    if found["per_category"]:
        parts.append(_grouped(f"By {found['category_column']}, worst first", found["per_category"]))
    parts.append(_grouped("By product, worst first", found["per_product"]))
    return Section("identification", "Which product is it", Markup("").join(parts))


def _grouped(title: str, found: Sequence[GroupDoc]) -> Markup:
    ordered = sorted(found, key=lambda g: (g["rate"] if g["rate"] is not None else 2.0, -g["whole"], g["name"]))
    rows = [(g["name"] or "(none)", g["rate"], _counts(g)) for g in ordered]
    shown = bars(rows[:_MOST_GROUPS], label=title)
    if len(rows) > _MOST_GROUPS:
        shown += Markup('<p class="soft">{}</p>').format(f"and {len(rows) - _MOST_GROUPS:,} more; --json lists them.")
    return details(f"{title} ({len(rows):,})", shown, unfolded=len(rows) <= _FEW_GROUPS)


def _strangers(document: EvaluationDoc, probes: Album, gallery: Album) -> Section:
    unknown, threshold = document["open_set"], document["threshold"]["value"]
    verdicts = unknown["verdicts"]
    rows = [
        ["photos of catalog products"]
        + [
            f"{verdicts['known'].get(k, 0):,}"
            for k in ("match_right", "match_wrong", "ambiguous_right", "ambiguous_wrong", "unknown")
        ],
        ["strangers", "–", f"{verdicts['strangers'].get('match', 0):,}", "–"]
        + [f"{verdicts['strangers'].get(k, 0):,}" for k in ("ambiguous", "unknown")],
    ]
    parts = [
        Markup("<p>{}</p>").format(
            f"Every photo is tried once more with its own product left out of the gallery ({unknown['method']}): "
            f"{unknown['strangers']:,} strangers against {unknown['gallery']:,} products."
        ),
        plot_row(
            wide_figure(plots.strangers(unknown, threshold), "The price of a threshold."),
            wide_figure(plots.coverage(unknown["ambiguous"]), _ambiguous(unknown["ambiguous"])),
        ),
        _operating_points(document),
        table(
            ["verdict", "match, right", "match, wrong", "ambiguous, right first", "ambiguous, wrong first", "unknown"],
            rows,
            numeric=(1, 2, 3, 4, 5),
            label="Verdicts",
        ),
    ]
    parts.append(named_strangers(document, probes, gallery))
    return Section("strangers", "None of ours?", Markup("").join(parts))


def _ambiguous(found: AmbiguousDoc) -> str:
    every, sure, listed = found["all"], found["match"], found["candidates"]
    return (
        f"What the verdict ambiguous buys. All names: {_percent(every['rate'])} right ({_counts(every)}) "
        f"{_ends(every)}. Only the verdict match: {_percent(sure['rate'])} right ({_counts(sure)}) {_ends(sure)}, "
        f"given to {_percent(found['coverage_of_match']['rate'])} of the photos. Ambiguous answers list the right "
        f"product in {_percent(listed['rate'])} ({_counts(listed)})."
    )


def _operating_points(document: EvaluationDoc) -> Markup:
    unknown, use = document["open_set"], document["threshold"]
    found, named = unknown["rates"]["dir"], unknown["rates"]["fpir"]
    rows = [
        [
            "the threshold in use",
            _number(use["value"]),
            f"{_percent(found['rate'])} {_ends(found)}",
            _counts(found),
            f"{_percent(named['rate'], 1)} {_interval(named['ci'], 1)}",
            _counts(named),
            _chosen_on(document["pairs"]["at_threshold"]),
        ]
    ]
    points = [(f"FAR {percent(float(k))}", p) for k, p in unknown["dir_at_far"].items()]
    points += [(f"FPIR {percent(float(k))}", p) for k, p in unknown["at_fpir"].items()]
    rows += [
        [
            name,
            _number(p["threshold"]),
            f"{_percent(p['dir'])} {_interval(p['dir_ci'])}",
            f"{p['found']:,} / {p['probes']:,}",
            f"{_percent(p['fpir'], 1)} {_interval(p['fpir_ci'], 1)}",
            f"{p['named']:,} / {p['strangers']:,}",
            _chosen_on(p),
        ]
        for name, p in points
    ]
    return table(
        ["", "threshold", "found (DIR)", "photos", "strangers named (FPIR)", "strangers", "chosen on"],
        rows,
        numeric=(1, 2, 3, 4, 5),
        label="Operating points",
    )


def _confidence(document: EvaluationDoc) -> Section | None:
    confidence = document["confidence"]
    if confidence is None:
        return None
    about = (
        f"Fitted on {confidence['fitted_on']}, measured on {confidence['answers']:,} answers here: expected "
        f"calibration error {_percent(confidence['ece'], 1)} {_interval(confidence['ece_ci'], 1)}, Brier score "
        f"{_number(confidence['brier'])} {_plain_ends(confidence['brier_ci'])}. "
        f"Strangers make up {_percent(confidence['strangers'])} of the photos tried."
    )
    rows = [
        [
            f"{100 * b['low']:.0f} to {100 * b['high']:.0f} %",
            _percent(b["mean_confidence"]),
            _percent(b["right"]["rate"]),
            _interval(b["right"]["ci"]),
            _counts(b["right"]),
        ]
        for b in confidence["bins"]
        if b["right"]["whole"]
    ]
    body = plot_row(
        wide_figure(plots.reliability(confidence), about),
        table(
            ["claimed", "mean", "right", "95 %", "answers"],
            rows,
            numeric=(1, 2, 3, 4),
            label="Reliability",
            compact=True,
        ),
    )
    return Section("confidence", "Does 80 % mean 80 %?", body)


def _method(document: EvaluationDoc) -> Section:
    excluded, data, gallery, use = document["excluded"], document["data"], document["gallery"], document["threshold"]
    rows = [
        ["model", f"{document['model']['name']}, fingerprint {document['model']['fingerprint'][:12]}"],
        ["photos", f"{data['folder']}: {data['found']:,} readable, {len(data['refused']):,} refused"],
        ["gallery", f"{gallery['source']}, {gallery['location']}: {gallery['refused']:,} refused"],
        ["threshold", f"{document['threshold']['value']:.4f}" + (f": {use['note']}" if use["note"] else "")],
        [
            "left out",
            f"{excluded['same_hash']:,} photos that the gallery holds, {excluded['near_duplicate']:,} nearly the same "
            f"as one of its pictures (up to {excluded['max_bits']} of 64 bits of a perceptual hash differ), "
            f"{excluded['repeated']:,} repeated in the split",
        ],
        ["pairs", f"{document['pairs']['same']:,} same, {document['pairs']['different']:,} different; all of them"],
    ]
    return Section("method", "What was measured", table(["", ""], rows, label="What was measured"))


def _percent(rate: float | None, digits: int = 0) -> str:
    return "–" if rate is None else f"{rate * 100:.{digits}f} %"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _interval(ends: list[float] | None, digits: int = 0) -> str:
    return f"[{ends[0] * 100:.{digits}f}, {ends[1] * 100:.{digits}f}]" if ends else ""


def _plain_ends(ends: list[float] | None) -> str:
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def _ends(rate: RateDoc) -> str:
    return _interval(rate["ci"])


def _counts(rate: RateDoc) -> str:
    return f"{rate['part']:,} / {rate['whole']:,}"
