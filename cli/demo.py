"""`itemrec demo`: the main job on a drawn catalog, so that everything can be tried offline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.options import ModelOption, QuietOption, setting

if TYPE_CHECKING:
    from retrieval.recognition.answer import Answer


def demo_command(
    folder: Annotated[Path, typer.Argument(help="Where the demo goes; made if missing.")] = Path("itemrec-demo"),
    model: ModelOption = None,
    quiet: QuietOption = False,
) -> int:
    """Draw a catalog, index it, and recognize photos of its products and of unknown ones.

    \b
    Example:
      itemrec demo && itemrec query itemrec-demo/photos/known --index itemrec-demo/index
    """
    render.configure(quiet=quiet)
    from collections import Counter

    from cli.index import index_command
    from cli.query import query_command
    from retrieval.errors import UsageError
    from trainer.synthetic.demo import write_demo

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"expected a folder for the demo, received the file {folder}", hint="Name another place.")
    try:
        render.say(f"Drawing products and photographing them into {folder} …")
        layout = write_demo(folder)
    except OSError as error:
        raise UsageError(
            f"expected a folder that can be written, received {folder}: {error.strerror or error}",
            hint="Name another place: itemrec demo PATH",
        ) from error
    location = str(folder / "index")
    chosen = setting("model", model)

    _echo(f"itemrec index {layout.catalog} --index {location}")
    index_command(layout.catalog, index=location, model=chosen, prune=True, quiet=quiet)

    _echo(f"itemrec query {layout.known} {layout.unknown} --index {location}")
    answers = _recognize_all(layout.truth, location, chosen)
    right = [photo for photo, product in layout.truth.items() if product and _first(answers[photo]) == product]
    known = [photo for photo, product in layout.truth.items() if product]
    listed = sum(any(m.product_id == layout.truth[photo] for m in answers[photo].matches) for photo in known)
    unknown = [photo for photo, product in layout.truth.items() if product is None]
    verdicts = Counter(answers[photo].verdict for photo in unknown)
    render.emit(
        f"\n{len(right)} of {len(known)} photos of catalog products got the right name first, {listed} among the names "
        f"shown. Of {len(unknown)} photos of unknown products {verdicts['unknown']} were called unknown, "
        f"{verdicts['ambiguous']} ambiguous, and {verdicts['match']} got a name."
    )

    example = (right or list(layout.truth))[0]
    _echo(f"itemrec query {example} --index {location} --top 3")
    query_command([str(example)], top=3, index=location, model=chosen, quiet=quiet)

    import shlex

    from retrieval.system.installation import program

    itemrec = program()
    next_steps = {
        f"query {shlex.quote(str(layout.known))} --index {shlex.quote(location)}": "the demo's photos, or your own",
        f"doctor --index {shlex.quote(location)}": "is everything healthy?",
        "index --help": "your own catalog: one folder of pictures per product",
        "models --help": "a stronger model than the built-in starter",
    }
    width = max(map(len, next_steps))
    render.say("Next:")
    for words, what in next_steps.items():
        render.say(f"  {itemrec} {words:<{width}}  {what}")
    return 0


def _echo(command: str) -> None:
    render.emit(f"\n$ {command}")


def _recognize_all(truth: dict[Path, str | None], location: str, model: str | None) -> dict[Path, Answer]:
    """Recognize every demo photo and print a line for each.

    Args:
        truth: photo -> its product in the catalog, None for an unknown product.
    """
    from retrieval.recognition.api import Recognizer
    from retrieval.recognition.recognizer import RefusedPhoto

    answers: dict[Path, Answer] = {}
    with Recognizer(location, model=model) as shop:
        for photo, result in zip(truth, shop.recognize_all(list(truth)), strict=True):
            if isinstance(result, RefusedPhoto):
                raise result.error
            answers[photo] = result
    render.table(
        ("photo of", "verdict", "sure", "first", "found"),
        [_row(product, answers[photo]) for photo, product in truth.items()],
        right=(2,),
    )
    return answers


def _first(answer: Answer) -> str | None:
    return answer.matches[0].product_id if answer.matches else None


def _row(product: str | None, answer: Answer) -> tuple[str, ...]:
    truth = product or f"(unknown) {Path(answer.source).stem}"
    if not answer.matches:
        return (truth, answer.verdict, "", "wrong" if product else "right", "")
    from cli.answer_table import percent  # `itemrec --help` does not pay for it

    best = answer.matches[0]
    sure = "" if best.confidence is None else percent(best.confidence)
    first = "right" if best.product_id == product else "wrong"
    # What the photo is of stands in front already.
    return (truth, answer.verdict, sure, first, "" if first == "right" else best.product_id)
