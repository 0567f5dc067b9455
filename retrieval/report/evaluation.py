"""The evaluation as a page: the verdict on top, then what it rests on, then the photos behind it.

A pure view of the ``itemrec.evaluate/1`` document: no figure is computed here that the document
does not hold. Pictures are read again from the folders that it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval import images
from retrieval.report import plots
from retrieval.report.evaluation_pictures import Album, Read, confusions, failures, named_strangers
from retrieval.report.page import (
    Markup,
    Section,
    Tile,
    Tone,
    details,
    page,
    plot_row,
    table,
    wide_figure,
    write_page,
)

if TYPE_CHECKING:
    from retrieval.evaluation.document import (
        AtFarDoc,
        EvaluationDoc,
        GroupDoc,
        RateDoc,
    )

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
    return (
        f"{document['photos']:,} photos of {document['products']:,} products against a gallery of "
        f"{document['gallery']['images']:,} pictures of {document['gallery']['products']:,} products. "
        f"Threshold {threshold['value']:.3f} ({threshold['name']}{chosen})."
    )


def _warnings(document: EvaluationDoc) -> list[Markup]:
    if not document["warnings"]:
        return []
    items = Markup("").join(Markup("<li>{}</li>").format(w) for w in document["warnings"])
    return [
        details(f"{len(document['warnings'])} things to know before trusting this", Markup("<ul>{}</ul>").format(items))
    ]


def _tiles(document: EvaluationDoc) -> list[Tile]:
    identification, unknown = document["identification"], document["open_set"]
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
        Tile(_number(document["pairs"]["eer"]), "equal error rate of all pairs"),
    ]


def _thresholds(document: EvaluationDoc) -> Section:
    pairs, threshold = document["pairs"], document["threshold"]["value"]
    points: list[tuple[str, AtFarDoc]] = [
        ("the threshold in use", pairs["at_threshold"]),
        *[(f"FAR {float(target):.2%}".replace(".00", ""), at) for target, at in pairs["at_far"].items()],
        ("highest VAL with FAR < 20 %", pairs["experiment"]),
    ]
    rows = [
        [
            name,
            _number(at["threshold"]),
            f"{_percent(at['val'])} {_interval(at['val_ci'])}",
            f"{at['accepted_same']:,} / {pairs['same']:,}",
            f"{_percent(at['far'], 2)} {_interval(at['far_ci'], 2)}",
            f"{at['accepted_different']:,} / {pairs['different']:,}",
            at["refusal"] or (f"{at['chosen_on']} (flatters)" if at["same_photos"] else at["chosen_on"]),
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
        ),
        table(headings, rows, numeric=(1, 2, 3, 4, 5), label="Thresholds"),
        details(
            "Sweep of thresholds",
            table(["threshold", "VAL", "FAR", "same accepted", "different accepted"], sweep, numeric=(0, 1, 2, 3, 4)),
        ),
    ]
    return Section("pairs", "Same or different: all pairs", Markup("").join(body))


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
        if key in found["rates"]
    ]
    rows.append(["MAP@R, by the nearest pictures", _number(found["map_at_r"]), "", ""])
    parts = [
        plot_row(
            wide_figure(plots.cmc(found), f"Distinct products, gallery of {found['gallery']:,} products."),
            table(["", "rate", "95 % interval", "photos"], rows, numeric=(1, 2, 3), label="Identification"),
        ),
    ]
    if found["per_category"]:
        parts.append(_groups(f"By {found['category_column']}", found["per_category"]))
    parts.append(details("By product, worst first", _groups("", found["per_product"])))
    return Section("identification", "Which product is it", Markup("").join(parts))


def _groups(caption: str, found: Sequence[GroupDoc]) -> Markup:
    ordered = sorted(found, key=lambda g: (g["rate"] if g["rate"] is not None else 2.0, -g["whole"], g["name"]))
    rows = [[g["name"], _percent(g["rate"]), _counts(g)] for g in ordered]
    return table(["", "right first", "photos"], rows, numeric=(1, 2), caption=caption, label="Accuracy by group")


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
            wide_figure(plots.coverage(unknown["ambiguous"]), "Answering only the clear cases."),
        ),
        table(
            ["", "match, right", "match, wrong", "ambiguous, right first", "ambiguous, wrong first", "unknown"],
            rows,
            numeric=(1, 2, 3, 4, 5),
            label="Verdicts",
        ),
    ]
    parts.append(named_strangers(document, probes, gallery))
    return Section("strangers", "None of ours?", Markup("").join(parts))


def _confidence(document: EvaluationDoc) -> Section | None:
    confidence = document["confidence"]
    if confidence is None:
        return None
    about = (
        f"Fitted on {confidence['fitted_on']}, measured on {confidence['answers']:,} answers here: expected "
        f"calibration error {_percent(confidence['ece'], 1)}, Brier score {_number(confidence['brier'])}. "
        f"Strangers make up {_percent(confidence['strangers'])} of the photos tried."
    )
    rows = [
        [
            f"{b['low']:.0%} to {b['high']:.0%}",
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
            ["claimed", "mean", "right", "95 % interval", "answers"], rows, numeric=(1, 2, 3, 4), label="Reliability"
        ),
    )
    return Section("confidence", "Does 80 % mean 80 %?", body)


def _method(document: EvaluationDoc) -> Section:
    excluded, data, gallery = document["excluded"], document["data"], document["gallery"]
    rows = [
        ["model", f"{document['model']['name']}, fingerprint {document['model']['fingerprint'][:12]}"],
        ["photos", f"{data['folder']}: {data['found']:,} readable, {len(data['refused']):,} refused"],
        ["gallery", f"{gallery['source']}, {gallery['location']}: {gallery['refused']:,} refused"],
        ["threshold", f"{document['threshold']['value']:.4f}: {document['threshold']['note']}"],
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


def _ends(rate: RateDoc) -> str:
    return _interval(rate["ci"])


def _counts(rate: RateDoc) -> str:
    return f"{rate['part']:,} / {rate['whole']:,}"
