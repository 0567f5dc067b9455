"""The verdict in a sentence, and the warnings that limit it."""

from __future__ import annotations

from retrieval.calibration.points import spoken
from retrieval.calibration.support import LEAST_PRODUCTS, percent
from retrieval.evaluation.document import EvaluationDoc, RateDoc, ServedDoc
from retrieval.evaluation.rate_docs import plain_rate
from retrieval.system.text import plural

_GOOD = (0.8, 0.05)
_BAD = (0.5, 0.3)
_CLEAR = 0.5


def headline(document: EvaluationDoc) -> tuple[str, str]:
    """The verdict in a sentence that stays true when quoted alone, and its tone: good, warn or bad.

    It is of the rule that queries go by.
    """
    served = document.get("served")
    if served is not None:
        return _by_probability(document, served)
    open_set, use = document["open_set"], document["threshold"]
    found, fpir = open_set["rates"]["dir"], open_set["rates"]["fpir"]
    where = f"threshold {use['value']:.3f}" + (f" ({spoken(use['name'])})" if use["name"] != "given" else "")
    text = f"At {where}, {of_hundred(found)} photos get the right product first (DIR); " + (
        f"{of_hundred(fpir)} photos of unknown products {'gets' if _hundred(fpir) == 1 else 'get'} a match (FPIR)."
        if fpir["whole"]
        else "FPIR cannot be measured in a gallery of one product."
    )
    measured_dir, measured_fpir = found["rate"] or 0.0, fpir["rate"] or 0.0
    if measured_dir < _BAD[0] or measured_fpir > _BAD[1]:
        return text, "bad"
    limited = use["same_photos"] or document["products"] < LEAST_PRODUCTS
    return text, "good" if measured_dir >= _GOOD[0] and measured_fpir <= _GOOD[1] and not limited else "warn"


def _by_probability(document: EvaluationDoc, served: ServedDoc) -> tuple[str, str]:
    known = next(group for group in served["verdicts"]["groups"] if group["group"] == "known")
    photos = sum(
        known[name] for name in ("match_right", "match_wrong", "ambiguous_right", "ambiguous_wrong", "unknown")
    )
    named = served["unknown_match"]
    right, listed = plain_rate(known["match_right"], photos), plain_rate(known["ambiguous_right"], photos)
    wrong = plain_rate(known["match_wrong"], photos)
    text = (
        f"From a probability of {percent(served['sure'])} on, {of_hundred(right)} photos get a match with the right "
        f"product and {of_hundred(wrong)} with a wrong one; {of_hundred(listed)} get candidates with the right one "
        "among them. "
    ) + (
        f"Of photos of unknown products, {of_hundred(named)} {'gets' if _hundred(named) == 1 else 'get'} a match."
        if named["whole"]
        else "What photos of unknown products get cannot be measured in a gallery of one product."
    )
    found = (known["match_right"] + known["ambiguous_right"]) / max(photos, 1)
    if found < _BAD[0] or (named["rate"] or 0.0) > _BAD[1]:
        return text, "bad"
    # Candidates are an answer, too, but a shop whose photos mostly get a list is not done.
    clear = (right["rate"] or 0.0) >= _CLEAR and document["products"] >= LEAST_PRODUCTS
    return text, "good" if found >= _GOOD[0] and (named["rate"] or 0.0) <= _GOOD[1] and clear else "warn"


def warnings_of(document: EvaluationDoc) -> list[str]:
    """Everything that limits what the figures mean, one sentence each."""
    use, excluded, gallery = document["threshold"], document["excluded"], document["gallery"]
    out: list[str] = []
    if use["same_photos"]:
        out.append(
            "The threshold was chosen on the very photos measured here, so every figure at it is optimistic. "
            "Choose on one split and measure on another."
        )
    if use["note"]:
        out.append(f"About the threshold in use: {use['note']}")
    at_far = document["pairs"]["at_far"]
    out += [doc["refusal"] for doc in at_far.values() if doc["refusal"]]
    read = [percent(float(k)) for k, doc in at_far.items() if doc["same_photos"] and not doc["refusal"]]
    if read and not use["same_photos"]:
        out.append(
            f"Thresholds for FAR {', '.join(read)} were chosen on the photos measured here, since no calibration "
            "has them: points of the ROC curve, optimistic elsewhere."
        )
    seen = {*out}
    out += [doc["refusal"] for doc in document["open_set"]["at_fpir"].values() if doc["refusal"] not in {"", *seen}]
    gone = excluded["same_hash"] + excluded["near_duplicate"]
    if gone:
        out.append(
            f"Excluded of {plural(document['data']['found'], 'photo')}: {gone:,} that the gallery also holds "
            f"({excluded['same_hash']:,} the same file, {excluded['near_duplicate']:,} nearly the same)."
        )
    if excluded["repeated"]:
        out.append(f"Excluded: {plural(excluded['repeated'], 'photo')} that the split holds twice.")
    crossed = [twin for twin in excluded["list"] if twin["image_product"] != twin["product"]]
    if crossed:
        out.append(
            f"Mislabeled in one of the two: {plural(len(crossed), 'photo')} of which the same file lies under another "
            f"product, such as {crossed[0]['source']} and {crossed[0]['image']}."
        )
    alike = excluded["look_alikes"]
    if alike:
        out.append(
            f"Not excluded: {plural(len(alike), 'photo')} nearly the same as a picture of another product, such as "
            f"{alike[0]['source']} and {alike[0]['image']}."
        )
    if excluded["unchecked"]:
        out.append(
            f"{plural(excluded['unchecked'], 'picture')} of {gallery['images']:,} in the gallery could not be searched "
            "for near duplicates, being gone or changed since the gallery was indexed."
        )
    refused = document["data"]["refused"]
    if refused:
        out.append(
            f"Not readable: {plural(len(refused), 'file')} of the split, such as {refused[0]['path']}: "
            f"{refused[0]['reason']}"
        )
    unknown = document["open_set"]["outsiders"]
    if unknown:
        out.append(
            f"Not counted in any identification rate: {plural(unknown['photos'], 'photo')} of "
            f"{plural(unknown['products'], 'product')} that the gallery does not hold."
        )
    return list(dict.fromkeys(out))


def of_hundred(rate: RateDoc) -> str:
    """``83 of 100``, or the counts themselves where there are few: ``5 of 6``. Never rounded to none or all."""
    if rate["whole"] < 100:
        return f"{rate['part']} of {rate['whole']}"
    if 0 < rate["part"] < 0.005 * rate["whole"]:
        return "fewer than 1 of 100"
    if 0.995 * rate["whole"] < rate["part"] < rate["whole"]:
        return "more than 99 of 100"
    return f"{_hundred(rate)} of 100"


def _hundred(rate: RateDoc) -> int:
    return round(100.0 * (rate["rate"] or 0.0)) if rate["whole"] >= 100 else rate["part"]
