"""`itemrec calibrate`: choose a model's threshold on your own photos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import progress, render
from cli.evaluate import DataOption, GalleryOption, dataset_folder, gather_gallery, learned_strangers
from cli.evaluate_text import percent
from cli.options import IndexOption, JsonOption, ModelOption, QuietOption, index_location, rate, setting
from retrieval.errors import UsageError
from retrieval.system.text import printable

if TYPE_CHECKING:
    from retrieval.evaluation import Calibrated
    from retrieval.models.bundle import Bundle, Calibration


def calibrate_command(
    split: Annotated[str, typer.Option("--split", help="Photos to choose on; never those you report on.")] = "val",
    data: DataOption = None,
    far: Annotated[
        str | None,
        typer.Option("--far", metavar="RATE", help="Pairs of different products to accept at most. Default: 1%"),
    ] = None,
    fpir: Annotated[
        str | None,
        typer.Option(
            "--fpir", metavar="RATE", help="Photos of strangers that may get a name at most, instead of --far."
        ),
    ] = None,
    gallery: GalleryOption = None,
    index: IndexOption = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="BUNDLE", help="Write a calibrated copy here and leave the model as it is."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Store the threshold even if the photos are too few to bear the claim.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Choose the threshold of a model on photos of yours, and fit how sure its answers are.

    The model's vectors do not change, so an index that it built stays valid. The built-in model is
    never changed: a calibrated copy is installed under a name of its own.

    \b
    Examples:
      itemrec calibrate --data ./data --far 1%
      itemrec calibrate --data ./data --fpir 5% --gallery index
      itemrec calibrate --data ./data --model ./bundle --out ./bundle-calibrated
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.catalog.read import read_catalog
    from retrieval.evaluation import Target, calibrate, gather_folder, split_folder
    from retrieval.evaluation.calibrate import DEFAULT_FAR
    from retrieval.index.open import open_index
    from retrieval.models.installed import resolve_model

    if far is not None and fpir is not None:
        raise UsageError("expected --far or --fpir, received both", hint="One threshold keeps one of them.")
    target = (
        Target("fpir", rate("--fpir", fpir))
        if fpir is not None
        else Target("far", rate("--far", far) if far is not None else DEFAULT_FAR)
    )
    dataset = dataset_folder(data)
    folder = split_folder(dataset, split)
    place = open_index(index_location(index))
    named = setting("model", model)
    manifest = place.manifest() if gallery in (None, "index") or named is None else None
    bundle = resolve_model(named, index_model=manifest.model if manifest else None)
    goal = _place(bundle, out)

    source, against = "", None
    # FAR needs pairs alone; without any gallery only what rests on one is left out, and that is said.
    if gallery is not None or manifest is not None or (dataset / "train").is_dir():
        source, _, against = gather_gallery(
            gallery, dataset, place, bundle, images=manifest.images if manifest else None
        )
    with progress.shown() as view:
        view.stage(f"Embedding {split}", read_catalog(folder).count())
        photos = gather_folder(folder, bundle, notify=lambda done, _: view.reached(done))
    found = calibrate(
        photos,
        against,
        target,
        measured_on=f"{split}: {len(photos):,} photos of {len(photos.products):,} products",
    )
    if found.refusal and not force:
        raise UsageError(
            f"expected photos that can bear {target.name}, received too few: {found.refusal}",
            hint="Give more photos, ask for a higher rate, or store it all the same with --force.",
        )
    written = _store(bundle, goal, found.calibration)
    notes = [sentence for sentence in (found.refusal, *found.left_out) if sentence]
    if against is not None:
        notes += learned_strangers(bundle)
    if as_json:
        render.emit_json(_document(found, written, source, notes))
    else:
        _print(found, written, bundle)
    for sentence in notes:
        render.warn(printable(sentence))
    return 0


def _place(bundle: Bundle, out: Path | None) -> Path:
    """Where the calibrated bundle goes: ``out``, else the bundle itself, else a copy among the models.

    Raises:
        UsageError: something else is already there.
    """
    from retrieval.models.bundle import DESCRIPTION, check_place
    from retrieval.models.installed import place_for, starter_path

    if out is not None:
        if out.absolute() != bundle.path:
            check_place(out.absolute(), replace=False)
        return out.absolute()
    builtin = bundle.path == starter_path().absolute()
    if not builtin and os.access(bundle.path, os.W_OK) and os.access(bundle.path / DESCRIPTION, os.W_OK):
        return bundle.path
    copy = place_for(f"{bundle.name}-calibrated")
    if copy.exists():
        from retrieval.models.bundle import peek

        # The copy of an earlier run is ours to replace, as long as it is the same model.
        if peek(copy).get("fingerprint") != bundle.fingerprint:
            raise UsageError(
                f"expected a free place for the calibrated copy, received {printable(copy)}, which is another model",
                hint="Name a place with --out BUNDLE",
            )
    return copy


def _store(bundle: Bundle, goal: Path, calibration: Calibration) -> Bundle:
    from retrieval.models.bundle import set_calibration, write_bundle
    from retrieval.models.installed import models_directory

    if goal == bundle.path:
        return set_calibration(goal, calibration)
    return write_bundle(
        goal,
        name=goal.name if goal.parent == models_directory() else bundle.name,
        encoder=bundle.encoder_file,
        runtime=bundle.runtime,
        preprocessing=bundle.preprocessing,
        dimension=bundle.dimension,
        calibration=calibration,
        training=bundle.training,
        card=bundle.card(),
        readout=bundle.readout,
        source=bundle.source,
        license=bundle.license,
        created=bundle.created or None,
        replace=goal.exists(),
    )


def _document(found: Calibrated, written: Bundle, gallery: str, notes: list[str]) -> dict[str, object]:
    return {
        "schema": "itemrec.calibrate/1",
        "model": {"name": written.name, "path": str(written.path), "fingerprint": written.fingerprint},
        "gallery": gallery,
        "supported": not found.refusal,
        "warnings": notes,
        "calibration": found.calibration.to_json(),
    }


def _with_ends(rate: float | None, ends: tuple[float, float] | None) -> str:
    return percent(rate) + (f" [{percent(ends[0])}, {percent(ends[1])}]" if ends else "")


def _print(found: Calibrated, written: Bundle, bundle: Bundle) -> None:
    from retrieval.calibration.points import spoken

    calibration = found.calibration
    render.emit(f"Threshold {calibration.threshold:.4f} (squared L2) for {spoken(calibration.chosen)}.")
    render.emit(f"Chosen on {calibration.measured_on}.")
    render.table(
        ("", "operating point", "threshold", "VAL", "FAR", "not found (FNIR)", "strangers named (FPIR)"),
        [
            (
                "*" if point.name == calibration.chosen else "",
                spoken(point.name),
                f"{point.threshold:.4f}",
                _with_ends(point.val, point.val_ci),
                _with_ends(point.far, point.far_ci),
                _with_ends(point.fnir, point.fnir_ci),
                _with_ends(point.fpir, point.fpir_ci),
            )
            for point in calibration.points
        ],
        right=(2,),
    )
    chosen = calibration.point(calibration.chosen)
    counted = [
        f"{count:,} {what}"
        for count, what in (
            (chosen.same_pairs, "pairs of the same product"),
            (chosen.different_pairs, "of different ones"),
            (chosen.probes, "photos of known products"),
            (chosen.strangers, f"of strangers to the other {chosen.gallery or 0:,} products"),
        )
        if count is not None
    ]
    render.emit(f"Counted over {', '.join(counted)}. Brackets are 95 % intervals.")
    fitted = calibration.confidence
    if fitted:
        render.emit(
            f"Confidence fitted on {fitted.answers:,} answers, {percent(fitted.strangers)} of the photos strangers."
        )
    render.emit(
        f"Wrote {printable(written.path)}; its vectors are the same, so indexes of {printable(bundle.name)} stay valid."
    )
    if written.path != bundle.path:
        render.emit(f"Use it with --model {printable(_reference(written))}")


def _reference(bundle: Bundle) -> str:
    from retrieval.models.installed import models_directory

    return bundle.path.name if bundle.path.parent == models_directory() else str(bundle.path)
