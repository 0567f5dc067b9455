"""From a dataset to a calibrated bundle, in one call: what `itemrec train` does.

Importing this module imports neither TensorFlow nor Keras; calling `train` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import UsageError
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable
from trainer.report import TrainReport

if TYPE_CHECKING:
    from retrieval.models.bundle import Bundle


def train(
    dataset: str | Path,
    out: str | Path,
    *,
    preset: str | None = None,
    model: str | Path | None = None,
    catalog: str | Path | None = None,
    backbone: str | None = None,
    weights: str | Path | None = None,
    size: int | None = None,
    dimension: int | None = None,
    freeze: str | None = None,
    feature_crop: float | None = None,
    ensemble: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    patience: int | None = None,
    loss: str | None = None,
    loss_options: Mapping[str, float | bool] | None = None,
    hold_out: float | None = None,
    seed: int | None = None,
    far: float | None = None,
    fpir: float | None = None,
    int8: bool = False,
    project: bool = False,
    resume: bool = False,
    replace: bool = False,
    cache: str | Path | None = None,
    progress: Progress = Silent(),
) -> TrainReport:
    """Learn a model from photos: a bundle with calibrated thresholds, ready to index and query with.

    What is None is as the preset has it. Logs go to ``OUT.run``.

    Args:
        dataset: a folder with train/ and, better, val/, as `trainer.prepare.prepare` makes it; or of product folders,
            which is all training then.
        out: where the bundle goes.
        preset: ``head`` (seconds), ``fast``, ``best``, or ``experiment``; ``fast`` by default.
        model: an installed model's name, or a bundle, that stays as it is and on top of which is learned
            (`trainer.on_top`), without TensorFlow. Of the other options those of a network do not apply then.
        catalog: a folder of catalog pictures that join the training.
        backbone: EfficientNetLite0 to 2, any of keras.applications, or small-cnn.
        weights: what the backbone begins with: ``starter`` for the built-in model's network, a bundle that was trained
            with it, ``imagenet``, ``none`` or a file. By default the built-in model's where it fits, else ``imagenet``.
        size: input height and width, pixels.
        dimension: embedding size.
        freeze: the backbone is frozen up to this stride or layer; ``all`` trains the head only, ``none`` everything.
        feature_crop: random crop of the cached feature map per step, as a fraction of its side, in [0.5, 1].
        ensemble: how many networks are trained and served together.
        epochs: passes over the photos.
        learning_rate: of the head.
        patience: stop after so many epochs without a better val; 0 to go on.
        loss: a name of `trainer.losses.LOSSES`.
        loss_options: parameters of the loss.
        hold_out: share of products held out to calibrate the rejection of unknown products, in [0, 0.5]; trains
            further networks.
        seed: random seed.
        far: calibrate the threshold for this FAR, in (0, 1).
        fpir: calibrate it for this FPIR, in (0, 1). With neither: the fewest wrong answers where one photo in five
            shows an unknown product.
        int8: also write ``OUT-int8``, and measure what it loses and gains.
        project: also write the embedding projector's files into the run directory.
        resume: continue a training that was interrupted.
        replace: bundles that are there already.
        cache: keeps what the frozen part made of pictures, by content.
        progress: told how far it is; of epochs too, where it is a `trainer.progress.TrainingProgress`.

    Raises:
        UsageError: an option, the dataset or ``out`` cannot be used.
        CatalogError: the dataset holds nothing to learn from.
        CollapseError: the recipe collapsed on these pictures.
        EncoderError: the export does not compute what was trained.
        DiskFullError, StoreError: something cannot be written.
        ItemrecError: TensorFlow or TensorBoard is not installed.
    """
    from retrieval.evaluation import Target
    from retrieval.models.bundle import check_place, valid_name

    if far is not None and fpir is not None:
        raise UsageError("expected --far or --fpir, received both", hint="One threshold keeps one of them.")
    target = Target("far", far) if far is not None else Target("fpir", fpir) if fpir is not None else None
    dataset, out, catalog = Path(dataset), Path(out).absolute(), Path(catalog) if catalog is not None else None
    # Refused before anything is imported or trained.
    valid_name(out.name)
    check_place(out, replace=replace)
    if int8:
        check_place(out.with_name(f"{out.name}-int8"), replace=replace)
    for folder, name in ((dataset, "DATASET"), (catalog, "--catalog")):
        if folder is not None and not folder.is_dir():
            raise UsageError(f"expected {name} to be a folder, received nothing at {printable(folder)}")
    unseen = hold_out if hold_out is not None else 0.2
    _require_photos(dataset, catalog, far=far, fpir=fpir, hold_out=unseen, needs_val=target is not None)

    if model is not None:
        network = {
            "--preset": preset, "--backbone": backbone, "--weights": weights, "--size": size, "--freeze": freeze,
            "--feature-crop": feature_crop, "--ensemble": ensemble, "--epochs": epochs, "--patience": patience,
            "--learning-rate": learning_rate, "--loss": loss, "--loss-option": loss_options or None,
            "--int8": int8 or None, "--project": project or None, "--resume": resume or None, "--cache": cache,
        }  # fmt: skip
        if wrong := [name for name, value in network.items() if value is not None]:
            raise UsageError(
                f"expected --model without the options of a network in training, received {', '.join(wrong)}",
                hint="The model stays as it is; what is learned on top of it takes --dimension, --catalog, --hold-out.",
            )
        from retrieval.models.installed import find_model
        from trainer.on_top import train_on_top
        from trainer.progress import told

        return train_on_top(
            dataset.absolute(),
            out,
            find_model(str(model)),
            catalog=catalog.absolute() if catalog else None,
            dimension=dimension,
            hold_out=unseen,
            seed=seed or 0,
            target=target,
            replace=replace,
            progress=told(progress),
        )
    preset = preset or "fast"
    from trainer.quiet import import_keras

    import_keras()
    from retrieval.models.installed import STARTER
    from trainer.cache import cache_home
    from trainer.finish import finish
    from trainer.learn import learn
    from trainer.networks.pretrained import made_for, model_named
    from trainer.places import RunPaths
    from trainer.presets import MEASURED_ON, customized
    from trainer.presets import preset as named
    from trainer.progress import told

    shown = told(progress)
    file = None if weights is None or str(weights) in ("imagenet", "none", STARTER) else Path(weights).absolute()
    if file is not None and backbone is None:
        start = model_named(str(file))
        backbone = made_for(file, MEASURED_ON) if start is None else _backbone_of(start)
        if backbone is not None:
            own = named(preset).network.backbone
            instead = f" Without --weights, {printable(preset)} trains {own}." if backbone != own else ""
            shown.note(f"{printable(file.name)} holds weights of {backbone}.{instead}")
    plan = customized(
        named(preset, backbone),
        network={
            "weights": weights if file is None else str(file),
            "size": size,
            "dimension": dimension,
            "freeze": freeze,
            "feature_crop": feature_crop,
            "ensemble": ensemble,
        },
        schedule={"epochs": epochs, "learning_rate": learning_rate, "patience": patience},
        rest={"loss": loss, "seed": seed, "hold_out": hold_out},
        loss_options=loss_options or {},
    )
    places = RunPaths(
        dataset.absolute(),
        catalog.absolute() if catalog else None,
        out.with_name(f"{out.name}.run"),
        Path(cache).absolute() if cache else cache_home("features"),
    )
    trained = learn(places, plan, shown, resume=resume)
    return finish(
        trained,
        places,
        out,
        target=target,
        preset=preset,
        int8=int8,
        project=project,
        replace=replace,
        progress=shown,
    )


def _backbone_of(model: Bundle) -> str | None:
    """What a model was trained with, as its description has it."""
    recipe = model.training.get("recipe")
    network = recipe.get("network") if isinstance(recipe, dict) else None
    found = network.get("backbone") if isinstance(network, dict) else None
    return found if isinstance(found, str) else None


def _require_photos(
    dataset: Path, catalog: Path | None, *, far: float | None, fpir: float | None, hold_out: float, needs_val: bool
) -> None:
    """Refuse, before TensorFlow is imported and anything trained, what cannot end well; looks at names alone.

    Args:
        dataset: as in `train`.
        catalog: likewise.
        far: that val has to bear, or None.
        fpir: likewise, where its unknown products are val's own: nothing is held out, or there are too few products.
        hold_out: share of products held out, 0 for none.
        needs_val: a threshold was asked for.

    Raises:
        CatalogError, UsageError: a split is missing or empty, or holds too little.
    """
    from retrieval.calibration.support import support
    from retrieval.types import SPLITS
    from trainer.data.dataset import count_pictures
    from trainer.held_out import FEWEST_PRODUCTS

    train, val = dataset / "train", dataset / "val"
    has_splits = train.is_dir()
    if not has_splits and (there := [name for name in SPLITS if (dataset / name).is_dir()]):
        raise UsageError(
            f"expected DATASET with train/, received {printable(dataset)} with {', '.join(there)} alone",
            hint="Photos to learn from lie in DATASET/train/<product_id>; itemrec prepare makes such a dataset.",
        )
    learned = count_pictures(train if has_splits else dataset)
    products = set(learned) | set(count_pictures(catalog) if catalog is not None else ())
    if len(products) < 2:
        raise UsageError(
            f"expected at least 2 products to tell apart, received {len(products)} in "
            f"{printable(train if has_splits else dataset)}",
            hint="A split is a folder that holds one folder of pictures a product.",
        )
    if has_splits and val.exists():
        photos = count_pictures(val)
    elif needs_val:
        raise UsageError(
            f"expected photos to choose the threshold on, received no val/ in {printable(dataset)}",
            hint="Leave --far and --fpir out, or make val/: itemrec prepare does.",
        )
    else:
        return
    whole = photos.total()
    different = (whole * whole - sum(count * count for count in photos.values())) // 2
    known = {product: count for product, count in photos.items() if product in learned}
    refusal = support("FAR", far, different, "impostor pairs", len(photos)) if far is not None else ""
    if fpir is not None and not (hold_out and len(learned) >= FEWEST_PRODUCTS):
        refusal = support("FPIR", fpir, sum(known.values()), "photos of unknown products", len(known))
    if refusal:
        raise UsageError(refusal, hint="Use more photos in val/, ask for a higher rate, or leave --far and --fpir out.")
