"""What `itemrec evaluate` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli import render
from cli.rate_text import bracketed, counted, ends_of, percent, plain, plain_bracketed
from cli.served_text import print_served
from retrieval.system.text import plural, printable

if TYPE_CHECKING:
    from retrieval.evaluation.compare import Comparison
    from retrieval.evaluation.document import AtFarDoc, EvaluationDoc, OpenSetPointDoc, RateDoc
    from retrieval.evaluation.requirements import Checked

_SHOWN = 5
_TONES = {"good": "bold green", "warn": "bold yellow", "bad": "bold red"}


def print_document(document: EvaluationDoc) -> None:
    """The verdict on top, then a table for each question; warnings go to stderr."""
    from retrieval.calibration.points import spoken

    _verdict(document["verdict"], document["tone"])
    gallery, use = document["gallery"], document["threshold"]
    render.emit(
        f"{document['split']}: {plural(document['photos'], 'photo')} of {plural(document['products'], 'product')}, "
        f"model {printable(document['model']['name'])}; gallery {gallery['source']}: "
        f"{plural(gallery['images'], 'picture')} of {plural(gallery['products'], 'product')}."
    )
    origin = {"given": "given by hand", "model": "the model's calibration", "split": "chosen for this run"}
    on = f", chosen on {printable(use['chosen_on'])}" if use["chosen_on"] else ""
    name = "" if use["source"] == "given" else f"{spoken(use['name'])}, "
    render.emit(f"Threshold {use['value']:.4f} (squared L2): {name}{origin[use['source']]}{on}.")
    render.emit()
    print_served(document)
    _pairs(document)
    _identification(document)
    _open_set(document)
    _confidence(document)
    _views(document)
    _refusals(document)
    _closer_look(document)
    for warning in document["warnings"]:
        render.warn(printable(warning))


def _verdict(text: str, tone: str) -> None:
    if not render.on_terminal():
        render.emit(text)
        return
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(text, style=_TONES[tone]))


def _pairs(document: EvaluationDoc) -> None:
    pairs = document["pairs"]
    render.emit(
        f"Verification: {pairs['same']:,} genuine pairs, {pairs['different']:,} impostor pairs. "
        f"AUC {plain(pairs['auc'])}, EER {percent(pairs['eer'])}{bracketed(pairs['eer_ci'])}."
    )
    rows = [("in use", pairs["at_threshold"]), ("FAR < 20 %", pairs["experiment"])]
    rows += [(f"FAR {100.0 * float(key):g} %", doc) for key, doc in pairs["at_far"].items()]
    render.table(
        ("", "threshold", "VAL", "95 %", "accepted", "FAR", "95 %", "accepted", "chosen on"),
        [(name, *_pair_row(doc)) for name, doc in rows],
        right=(1, 2, 4, 5, 7),
    )
    render.emit()
    render.table(
        ("sweep", "VAL", "accepted", "FAR", "accepted"),
        [
            (
                f"{point['threshold']:g}",
                percent(point["val"]),
                f"{point['accepted_same']:,}",
                percent(point["far"]),
                f"{point['accepted_different']:,}",
            )
            for point in pairs["sweep"]
        ],
        right=(0, 1, 2, 3, 4),
    )
    render.emit()


def _pair_row(doc: AtFarDoc) -> tuple[str, ...]:
    return (
        _threshold(doc["threshold"]),
        percent(doc["val"]),
        ends_of(doc["val_ci"]),
        f"{doc['accepted_same']:,}",
        percent(doc["far"]),
        ends_of(doc["far_ci"]),
        f"{doc['accepted_different']:,}",
        _where(doc["chosen_on"], same_photos=doc["same_photos"]),
    )


def _views(document: EvaluationDoc) -> None:
    section = document.get("views")
    if section is None:
        return
    from retrieval.evaluation.shown_rates import headings_of_views, rates_of_views

    render.emit(f"Several photos of one item, of {plural(section['products'], 'product')}; unknown: leave one out.")
    render.table(
        ("photos", "items", "right product first", *headings_of_views(section), "said apart"),
        [
            (
                str(row["photos"]),
                f"{row['items']:,}",
                percent(row["top1"]["rate"]),
                *(percent(rate["rate"]) for rate in rates_of_views(row)),
                percent(row["apart"]["rate"]) if row["apart"] else "",
            )
            for row in section["rows"]
        ],
        right=(0, 1, 2, 3, 4, 5),
    )
    render.emit()


def _refusals(document: EvaluationDoc) -> None:
    section = document.get("refusals")
    if section is None:
        return
    from retrieval.evaluation.shown_rates import rates_of_refusals

    left_out = section["same_photos"]
    itself = f" {plural(left_out, 'photo')} refused themselves left out." if left_out else ""
    render.emit(
        f"Not ours: the index refuses {plural(section['pictures'], 'picture')}; all figures above are without.{itself}"
    )
    render.table(
        ("", "before", "photos", "with refusals", "photos"),
        [(name, *counted(before)[:2], *counted(after)[:2]) for name, before, after in rates_of_refusals(section)],
        right=(1, 2, 3, 4),
    )
    acting = [each for each in section["each"] if each["known"] or each["unknown"]]
    if acting:
        render.emit()
        render.table(
            ("refused picture", "unknown photos refused", "known photos refused", "note"),
            [(e["image"], f"{e['unknown']:,}", f"{e['known']:,}", e["note"]) for e in acting],
            right=(1, 2),
        )
    render.emit()


def _closer_look(document: EvaluationDoc) -> None:
    section = document.get("closer_look")
    if section is None:
        return
    before, after = (percent(section["top1"][when]["rate"]) for when in ("before", "after"))
    render.emit(
        f"A closer look at close calls, {percent(section['close']['rate'])} of {plural(section['photos'], 'photo')}: "
        f"the right product first in {after}, {before} without ({section['mended']:,} mended, "
        f"{section['spoiled']:,} spoiled); all figures above are without."
    )
    render.emit()


def _where(chosen_on: str, *, same_photos: bool) -> str:
    return "the same photos" if same_photos else "other photos" if chosen_on else "by hand"


def _threshold(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _identification(document: EvaluationDoc) -> None:
    section = document["identification"]
    render.emit(
        f"Identification: {plural(section['probes'], 'photo')} against {plural(section['gallery'], 'product')}, "
        "without a threshold."
    )
    names = {
        "top1": "right product first, by votes",
        "top5": "among the first five, by votes",
        "knn_top1": "nearest picture is of the right product",
        "map_at_r": "mean average precision at R",
        "matching_test_top5": "one picture a product, first five within the threshold",
    }
    rows = []
    for key, name in names.items():
        shown = counted(section["rates"][key])
        rows.append((name, shown[0], "mean" if key == "map_at_r" else shown[1], shown[2]))
    render.table(("", "rate", "photos", "95 %"), rows, right=(1, 2))
    if section["per_category"]:
        worst = ", ".join(
            f"{printable(g['name'] or '(none)')} {g['part']}/{g['whole']}" for g in section["per_category"][:_SHOWN]
        )
        render.emit(f"Hardest by {printable(section['category_column'])}: {worst}")
    worst = ", ".join(
        f"{printable(g['name'])} {g['part']}/{g['whole']}" for g in section["per_product"][:_SHOWN] if g["rate"] != 1.0
    )
    if worst:
        render.emit(f"Hardest products: {worst}")
    for c in section["confusions"][:_SHOWN]:
        render.emit(
            f"  {printable(c['product'])} taken for {printable(c['taken_for'])}: {c['count']} of {c['probes']}"
            f" ({printable(c['examples'][0]['photo'])} ~ {printable(c['examples'][0]['image'])})"
        )
    render.emit()


def _open_set(document: EvaluationDoc) -> None:
    section = document["open_set"]
    render.emit(
        f"Open set: every photo once more as a leave-one-out unknown, its product taken out of the gallery: "
        f"{plural(section['strangers'], 'photo')} against {plural(section['gallery'], 'product')}."
    )
    use = document["threshold"]["value"]
    rates = section["rates"]
    in_use = (f"in use ({_threshold(use)})", *counted(rates["dir"]), *counted(rates["fpir"]))
    rows: list[tuple[str, ...]] = [in_use]
    rows += [_open_row(f"FAR {100.0 * float(k):g} %", p) for k, p in section["dir_at_far"].items()]
    rows += [_open_row(f"FPIR {100.0 * float(k):g} %", p) for k, p in section["at_fpir"].items()]
    render.table(("threshold", "DIR", "photos", "95 %", "FPIR", "photos", "95 %"), rows, right=(1, 2, 4, 5))
    render.emit()
    if document.get("served") is not None:
        render.emit("Queries of this gallery do not go by the threshold, but by the probabilities above.")
        render.emit()
        return
    ambiguous = section["ambiguous"]
    answers: list[tuple[str, RateDoc]] = [
        ("accuracy of all answers", ambiguous["all"]),
        ("accuracy of the verdict match", ambiguous["match"]),
        ("coverage: photos with the verdict match", ambiguous["coverage_of_match"]),
        ("verdict ambiguous: right product in the list", ambiguous["candidates"]),
        ("unknown products with the verdict match", rates["fpir_match"]),
    ]
    render.emit("Accuracy and coverage of the verdicts, at the threshold in use:")
    render.table(("", "rate", "photos", "95 %"), [(name, *counted(rate)) for name, rate in answers], right=(1, 2))
    render.emit()


def _open_row(name: str, point: OpenSetPointDoc) -> tuple[str, ...]:
    mark = "*" if point["same_photos"] else ""
    return (
        f"{name} ({_threshold(point['threshold'])}{mark})",
        percent(point["dir"]),
        f"{point['found']:,} / {point['probes']:,}",
        ends_of(point["dir_ci"]),
        percent(point["fpir"]),
        f"{point['named']:,} / {point['strangers']:,}",
        ends_of(point["fpir_ci"]),
    )


def _confidence(document: EvaluationDoc) -> None:
    section = document["confidence"]
    points = [*document["open_set"]["dir_at_far"].values(), *document["open_set"]["at_fpir"].values()]
    if any(point["same_photos"] for point in points):
        render.emit("* chosen on the photos measured here: a point of the curve, optimistic elsewhere.")
    if section is None:
        if document.get("served") is not None:
            return
        render.emit("Confidence: the model has none for this threshold; itemrec calibrate fits one.")
        return
    render.emit(
        f"Confidence ({section['feature']}, {section['kind']}): expected calibration error {percent(section['ece'])} "
        f"(by chance alone {percent(section['ece_by_chance'])}), Brier score {plain(section['brier'])}"
        f"{plain_bracketed(section['brier_ci'])} over {plural(section['answers'], 'answer')}, "
        f"{percent(section['strangers'])} of the photos show unknown products."
    )


def print_comparison(comparison: Comparison, name: str) -> None:
    """Each rate of both, the difference with its interval, and whether it is more than chance."""
    render.emit()
    render.emit(f"Compared with {printable(name)}, over {plural(comparison.photos, 'photo')} that both measured:")
    render.table(
        ("", "before", "now", "difference", "95 %", ""),
        [
            (
                row.name,
                percent(row.before),
                percent(row.now),
                _signed(row.difference),
                _signed_ends(row.ci),
                row.verdict,
            )
            for row in comparison.rows
        ],
        right=(1, 2, 3),
    )
    render.emit(comparison.verdict)


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100.0 * value:+.1f} points"


def _signed_ends(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{100.0 * ends[0]:+.1f} to {100.0 * ends[1]:+.1f}"


def say_checked(requirement: Checked) -> None:
    """Say whether a requirement holds, on stderr."""
    if requirement.passed:
        render.say(f"passed: {requirement.line()}")
    else:
        render.complain(f"failed: {requirement.line()}")
