"""Index a catalog and recognize photos of its products, in code that a strict type checker accepts.

python docs/examples/recognize.py CATALOG PHOTO...
"""

import sys

import itemrec


def index(catalog: str, place: str) -> int:
    """Make a catalog findable; how many pictures the index holds then."""
    report: itemrec.IndexReport = itemrec.index(catalog, place)
    for refusal in report.refused:
        print(f"refused {refusal.path}: {refusal.reason}", file=sys.stderr)
    return report.images


def names(shop: itemrec.Recognizer, photo: str | bytes) -> list[str]:
    """The products in a photo, best first; none where it is not one of the catalog's."""
    answer: itemrec.Answer = shop.recognize(photo, top=3)
    return [] if answer.verdict == "unknown" else [match.product_id for match in answer.matches]


def scores(shop: itemrec.Recognizer, photos: list[str]) -> dict[str, float]:
    """The best score for each photo that can be read."""
    found: dict[str, float] = {}
    for result in shop.recognize_all(photos):
        if isinstance(result, itemrec.RefusedPhoto):
            print(f"refused {result.source}: {result.error.reason}", file=sys.stderr)
        elif result.matches:
            found[result.source] = result.matches[0].score
    return found


def main(catalog: str, *photos: str) -> None:
    """Index the catalog into a folder beside it, then ask about the photos."""
    place = f"{catalog.rstrip('/')}.index"
    print(index(catalog, place), "pictures")
    with itemrec.Recognizer(place) as shop:
        print(scores(shop, list(photos)))
        for photo in photos:
            try:
                print(photo, names(shop, photo) or "unknown")
            except itemrec.ImageError as error:
                print(photo, error.reason)


if __name__ == "__main__":
    main(*sys.argv[1:])
