"""`itemrec evaluate`: what will happen in the field, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import progress, render
from cli.options import IndexOption, JsonOption, ModelOption, QuietOption, index_location, rate, setting
from retrieval.errors import UsageError
from retrieval.system.text import printable

if TYPE_CHECKING:
    from retrieval.evaluation import EvaluationDoc, Photos
    from retrieval.index.protocols import Index
    from retrieval.models.bundle import Bundle

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The dataset: a folder with train/, val/ and test/."),
]
GalleryOption = Annotated[
    str | None,
    typer.Option(
        "--gallery",
        metavar="WHICH",
        help="What photos are compared with: index, train (DATA/train), catalog (DATA/catalog) or a folder."
        " Default: the index where there is one, else train.",
    ),
]


def evaluate_command(
    split: Annotated[str, typer.Option("--split", help="Which photos to measure: train, val or test.")] = "test",
    data: DataOption = None,
    gallery: GalleryOption = None,
    index: IndexOption = None,
    model: ModelOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", metavar="D", min=0.0, max=4.0, help="Squared L2. Default: the model's calibration."
        ),
    ] = None,
    calibrate_on: Annotated[
        str | None,
        typer.Option("--calibrate-on", metavar="SPLIT", help="Choose the thresholds on this split instead."),
    ] = None,
    far: Annotated[
        list[str] | None,
        typer.Option(
            "--far",
            metavar="RATE",
            help="FAR to report at, such as 1%; may be repeated. With --calibrate-on the first is the"
            " threshold in use. Default: 1%, 10%, 0.1%",
        ),
    ] = None,
    category: Annotated[
        str, typer.Option("--category", metavar="COLUMN", help="Metadata column for accuracy by group.")
    ] = "category",
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="EXPR", help="Exit 1 unless it holds: 'val@far=0.01>=0.8'; may be repeated."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="FILE", help="An earlier --out or --json file: is this one better?"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the JSON document here.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a report with pictures.")] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Measure a model on photos it was not trained on: what is found, what strangers get, how sure that is.

    Photos that the gallery also holds are left out. Thresholds come from the model's calibration
    or another split, never from the photos measured; where they do, it is said. Every rate comes
    with its counts and a 95 % interval. Exit code 1 when a --require does not hold.

    \b
    Examples:
      itemrec evaluate --data ./data                       the test split against the index
      itemrec evaluate --data ./data --gallery train --calibrate-on val
      itemrec evaluate --data ./data --html report.html
      itemrec evaluate --data ./data --require "top5>=0.95" --require "fpir<=0.05"
      itemrec evaluate --data ./data --out new.json --compare old.json
    """
    render.configure(json=as_json, quiet=quiet)
    from cli.evaluate_text import print_comparison, print_document
    from retrieval.catalog.read import read_catalog
    from retrieval.evaluation import Setting, Target, calibrate, evaluate, gather_folder, split_folder
    from retrieval.evaluation.calibrate import DEFAULT_FAR
    from retrieval.evaluation.compare import compare_documents, read_document
    from retrieval.evaluation.requirements import check, parse_requirement
    from retrieval.evaluation.thresholds import require_threshold
    from retrieval.index.open import open_index
    from retrieval.metrics import FAR_TARGETS
    from retrieval.models.installed import resolve_model

    requirements = [parse_requirement(text) for text in require or []]
    earlier = read_document(compare) if compare else None
    for file in (out, html):
        if file is not None and not file.absolute().parent.is_dir():
            raise UsageError(
                f"expected a file in a directory that exists, received {printable(file)}", hint="Make it first."
            )
    dataset = dataset_folder(data)
    folder = split_folder(dataset, split)
    if calibrate_on == split:
        raise UsageError(
            f"expected another split to choose the threshold on, received {split!r} for both",
            hint="A threshold judged on the photos it was chosen on flatters: --split test --calibrate-on val",
        )
    calibration_folder = split_folder(dataset, calibrate_on) if calibrate_on else None
    by_hand = threshold if calibrate_on else setting("threshold", threshold)
    wanted = [rate("--far", text) for text in far or []]
    target = index_location(index)
    place = open_index(target)
    named = setting("model", model)
    manifest = place.manifest() if gallery in (None, "index") or named is None else None
    bundle = resolve_model(named, index_model=manifest.model if manifest else None)
    if not calibrate_on:
        require_threshold(by_hand, bundle.calibration)

    notes = learned_strangers(bundle)
    source, location, against = gather_gallery(
        gallery, dataset, place, bundle, images=manifest.images if manifest else None
    )
    with progress.shown() as view:
        view.stage(f"Embedding {split}", read_catalog(folder).count())
        photos = gather_folder(folder, bundle, notify=lambda done, _: view.reached(done))
    calibration, origin = bundle.calibration, "model"
    if calibrate_on and calibration_folder:
        with progress.shown() as view:
            view.stage(f"Embedding {calibrate_on}", read_catalog(calibration_folder).count())
            others = gather_folder(calibration_folder, bundle, notify=lambda done, _: view.reached(done))
        others, note = without_shared(others, photos, calibrate_on, split)
        notes += note
        render.say("Choosing thresholds …")
        chosen = calibrate(
            others,
            against,
            Target("far", wanted[0] if wanted else DEFAULT_FAR),
            measured_on=f"{calibrate_on}: {len(others):,} photos of {len(others.products):,} products",
            far_targets=(*FAR_TARGETS, *wanted),
        )
        calibration, origin = chosen.calibration, "split"
    render.say("Measuring …")
    document = evaluate(
        photos,
        against,
        Setting(
            split=split,
            data=str(dataset),
            gallery_source=source,
            gallery_location=location,
            model=bundle.identity,
            calibration=calibration,
            calibration_source=origin,
            threshold=by_hand,
            far_targets=tuple(sorted({*FAR_TARGETS, *wanted}, reverse=True)),
            category_column=category,
        ),
        notes=notes,
    )
    verdicts = check(requirements, document)
    comparison = compare_documents(earlier, document) if earlier else None
    _write(document, out, html)
    if as_json:
        extra: dict[str, object] = {"requirements": [verdict.to_json() for verdict in verdicts]} if requirements else {}
        if comparison:
            extra["comparison"] = comparison.to_json()
        render.emit_json({**document, **extra})
    else:
        print_document(document)
        if comparison:
            print_comparison(comparison, str(compare))
    for verdict in verdicts:
        if verdict.passed:
            render.say(f"passed: {verdict.line()}")
        else:
            render.complain(f"failed: {verdict.line()}")
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def dataset_folder(given: Path | None) -> Path:
    """The dataset to use: the flag, else itemrec.toml.

    Raises:
        UsageError: neither names one.
    """
    named = setting("data", given)
    if named is None:
        raise UsageError(
            "expected a dataset, received none: neither --data nor data in itemrec.toml",
            hint="Name a folder with train/, val/ and test/: --data DIR; itemrec prepare makes one.",
        )
    return Path(named)


def gather_gallery(
    which: str | None, dataset: Path, place: Index, bundle: Bundle, *, images: int | None
) -> tuple[str, str, Photos]:
    """What photos are compared with: its kind, its place, its pictures.

    Args:
        which: ``index``, ``train``, ``catalog`` or a folder; None takes the index if there is one, else train.
        dataset: the folder that holds ``train`` and ``catalog``.
        place: the index.
        bundle: the model.
        images: pictures in the index; None where nothing was committed to it.

    Raises:
        UsageError: there is no such gallery.
    """
    from retrieval.catalog.read import read_catalog
    from retrieval.evaluation import gather_folder, gather_index, split_folder

    if which == "index" or (which is None and images is not None):
        with progress.shown() as view:
            view.stage("Reading the index", images)
            return "index", place.location, gather_index(place, bundle, notify=lambda done, _: view.reached(done))
    if which in (None, "train"):
        kind, folder = "train", split_folder(dataset, "train")
    elif which == "catalog" and (dataset / "catalog").is_dir():
        kind, folder = "catalog", dataset / "catalog"
    else:
        kind, folder = "folder", Path(which or "")
        if not folder.exists():
            raise UsageError(
                f"expected index, train, catalog or a folder as gallery, received {printable(str(which))!r}, "
                f"which is neither there nor in {printable(str(dataset))}",
                hint="Name a folder of product folders: --gallery ./catalog",
            )
    with progress.shown() as view:
        view.stage("Embedding the gallery", read_catalog(folder).count())
        return kind, str(folder), gather_folder(folder, bundle, notify=lambda done, _: view.reached(done))


def learned_strangers(bundle: Bundle) -> list[str]:
    """What has to be said of strangers left out of a gallery, where the model may have learned their products."""
    learned = bundle.training.get("products")
    if not learned:
        return []
    return [
        f"Strangers here are products of the gallery, left out of it. {bundle.name} learned {learned:,} products: "
        "those among them are refused more often than products that no training saw."
    ]


def without_shared(others: Photos, photos: Photos, name: str, split: str) -> tuple[Photos, list[str]]:
    """The photos to calibrate on without those that are measured too, and a warning where there were any.

    Raises:
        UsageError: all of them are measured too.
    """
    measured = set(photos.content_hashes)
    kept = [i for i, content in enumerate(others.content_hashes) if content not in measured]
    if not kept:
        raise UsageError(
            f"expected other photos in {name} than in {split}, received the same ones",
            hint="Make disjoint splits: itemrec prepare",
        )
    if len(kept) == len(others):
        return others, []
    shared = len(others) - len(kept)
    return others.only(kept), [f"{shared} photos of {name} are also in {split}; thresholds were chosen without them."]


def _write(document: EvaluationDoc, out: Path | None, html: Path | None) -> None:
    import json

    from retrieval.system.files import replace_file

    if out:
        try:
            replace_file(out, (json.dumps(document, allow_nan=False, indent=1) + "\n").encode())
        except OSError as error:
            raise UsageError(
                f"expected a place for the document that can be written, received {printable(str(out))}: "
                f"{error.strerror or error}",
                hint="Name another file with --out",
            ) from error
        render.say(f"Wrote {printable(str(out))}")
    if html:
        from retrieval.report.evaluation import write_report

        write_report(html, document)
        render.say(f"Wrote {printable(str(html))}")
