"""The sentence on top, and what a reader has to be told before believing the rest."""

from __future__ import annotations

from retrieval.evaluation.document import EvaluationDoc, RateDoc
from retrieval.threshold import LEAST_PRODUCTS

_GOOD = (0.8, 0.05)
_BAD = (0.5, 0.3)


def headline(document: EvaluationDoc) -> tuple[str, str]:
    """The verdict in a sentence that stays true when quoted alone, and its tone: good, warn or bad."""
    open_set, use = document["open_set"], document["threshold"]
    found, named = open_set["rates"]["dir"], open_set["rates"]["fpir"]
    where = f"threshold {use['value']:.3f}" + (f" ({spoken(use['name'])})" if use["name"] != "given" else "")
    text = (
        f"At {where} it finds {of_hundred(found)} photos; "
        f"{of_hundred(named)} strangers {'gets' if _hundred(named) == 1 else 'get'} a wrong name."
    )
    dir_, fpir = found["rate"] or 0.0, named["rate"] or 0.0
    if dir_ < _BAD[0] or fpir > _BAD[1]:
        return text, "bad"
    doubtful = use["same_photos"] or document["products"] < LEAST_PRODUCTS
    return text, "good" if dir_ >= _GOOD[0] and fpir <= _GOOD[1] and not doubtful else "warn"


def warnings_of(document: EvaluationDoc) -> list[str]:
    """Everything that makes the figures mean less than they seem to, one sentence each."""
    use, excluded, gallery = document["threshold"], document["excluded"], document["gallery"]
    out: list[str] = []
    if use["same_photos"]:
        out.append(
            "The threshold was chosen on the very photos measured here, so every figure at it flatters. "
            "Choose on one split and measure on another."
        )
    if use["note"]:
        out.append(f"About the threshold in use: {use['note']}")
    at_far = document["pairs"]["at_far"]
    out += [doc["refusal"] for doc in at_far.values() if doc["refusal"]]
    read = [percent(float(k)) for k, doc in at_far.items() if doc["same_photos"] and not doc["refusal"]]
    if read and not use["same_photos"]:
        out.append(
            f"Thresholds for FAR {', '.join(read)} are read off the photos measured here, since no calibration "
            "names them: points of a curve, not a promise."
        )
    seen = {*out}
    out += [doc["refusal"] for doc in document["open_set"]["at_fpir"].values() if doc["refusal"] not in {"", *seen}]
    gone = excluded["same_hash"] + excluded["near_duplicate"]
    if gone:
        out.append(
            f"{gone} of {document['data']['found']} photos are also in the gallery "
            f"({excluded['same_hash']} the same file, {excluded['near_duplicate']} nearly the same) and were left out."
        )
    if excluded["repeated"]:
        out.append(f"{excluded['repeated']} photos are in the split twice; each was counted once.")
    crossed = [twin for twin in excluded["list"] if twin["image_product"] != twin["product"]]
    if crossed:
        out.append(
            f"{len(crossed)} photos are the same file as a picture of another product, such as "
            f"{crossed[0]['source']} and {crossed[0]['image']}: one of the two is labeled wrong."
        )
    if excluded["look_alikes"]:
        out.append(
            f"{len(excluded['look_alikes'])} photos look nearly the same as a picture of another product; they stay in."
        )
    if excluded["unchecked"]:
        out.append(
            f"{excluded['unchecked']} of {gallery['images']} gallery pictures are gone or have changed since they "
            "were indexed, so near duplicates of them could not be looked for."
        )
    if document["data"]["refused"]:
        first = document["data"]["refused"][0]
        out.append(
            f"{len(document['data']['refused'])} files of the split could not be read, such as "
            f"{first['path']}: {first['reason']}"
        )
    unknown = document["open_set"]["outsiders"]
    if unknown:
        out.append(
            f"{unknown['photos']} photos show {unknown['products']} products that the gallery does not hold; they "
            "count in no identification rate."
        )
    return list(dict.fromkeys(out))


def of_hundred(rate: RateDoc) -> str:
    """``83 of 100``, or the counts themselves where there are few: ``5 of 6``; ``no`` without any."""
    if not rate["whole"]:
        return "none of 0"
    return f"{rate['part']} of {rate['whole']}" if rate["whole"] < 100 else f"{_hundred(rate)} of 100"


def percent(rate: float) -> str:
    """A target rate as people say it: 0.01 -> ``1 %``."""
    return f"{100.0 * rate:g} %"


def _hundred(rate: RateDoc) -> int:
    return round(100.0 * (rate["rate"] or 0.0)) if rate["whole"] >= 100 else rate["part"]


def spoken(name: str) -> str:
    """An operating point's name as people say it: ``far=0.01`` -> ``FAR 1 %``."""
    kind, equals, value = name.partition("=")
    try:
        return f"{kind.upper()} {percent(float(value))}" if equals else name
    except ValueError:
        return name
