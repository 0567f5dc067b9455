"""What the feature branch is worth, by how it is projected: one training a fold, read out in several ways.

    python benchmarks/projection.py GROCERY --preset fast --folds 0,1

    python benchmarks/projection.py GROCERY --model starter --folds 0,1,2,3,4
    python benchmarks/projection.py GROCERY --model lite0 --folds 0,1,2,3,4

With ``--model`` nothing is trained: the table is of what `itemrec train --model` tries on top of that frozen model
(``frozen.py`` writes one), fitted to the photos of four fifths of the products; rows with ``catalog`` to their studio
pictures too. ``new`` are the products of the other fifth. All probes are of ``photos/val``:

    R@1           probes of the learned products, with all their photos of photos/train as the gallery
    studio        likewise, with the catalog as the gallery
    DIR 10 %      likewise found within the threshold where 10 % of the photos of new products get an answer
    new studio    R@1 of the new products' probes, in the catalog of all products; ``five`` is their R@5 of products
    new@5         R@1 with five photos of each new product among all photos of the others; new@5:5 with five of each
    new DIR 10 %  in a gallery of five photos of each new product alone, probes found where 10 % of the others' are

Without ``--model``, GROCERY is as in `recipes.py`, and so are the columns. Every training holds out a fifth of the
products, so the first columns are of the photos of ``photos/val`` whose products it learned. ``discriminant 0.15`` is
what is served; the number is the part of the spread of all pictures in what directions are divided by, beside that
within products.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recipes import PARTS, Photos, fifth, first_is_right, held_out_rates, known, means, print_table, without

from retrieval.evaluation import gather_folder
from retrieval.metrics import identification, open_set
from retrieval.models.installed import find_model
from trainer.data.dataset import Pictures, read_pictures
from trainer.networks.projections import Projection, discriminant, unit_rows, whitening
from trainer.on_top import fit, judge, projected, ways_of
from trainer.places import RunPaths
from trainer.progress import Silent
from trainer.quiet import import_keras

WAYS: dict[str, Callable[[NDArray[np.float32], NDArray[np.int64], int], Projection]] = {
    "none": lambda features, _, __: (features.mean(axis=0), np.eye(features.shape[1], dtype=np.float32)),
    "half whitening": lambda features, _, dimension: whitening(features, dimension),
    **{f"discriminant {part}": partial(discriminant, of_all=part) for part in (0.05, 0.15, 0.3, 1.0)},
}


class Lines(Silent):
    """A training told as plain lines."""

    def stage(self, name: str, total: int | None = None, unit: str = "images", *, done: int = 0) -> None:
        print(name, file=sys.stderr)

    def epoch(self, log: Any) -> None:
        print(f"epoch {log.epoch}: loss {log.loss:.3f}", file=sys.stderr)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)


def outputs(served: Any, preprocessing: Any, pictures: Pictures) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features before the projection, and the embedding, of pictures."""
    import keras

    both = keras.Model(served.inputs, [served.get_layer("projection").input, served.output])
    parts = [
        both.predict_on_batch(
            preprocessing.tensor(pictures.pixels(preprocessing, range(i, min(i + 64, len(pictures)))))
        )
        for i in range(0, len(pictures), 64)
    ]
    features, embeddings = zip(*parts, strict=True)
    return np.concatenate(features), np.concatenate(embeddings)


def on_top(data: Path, model: str, folds: list[int]) -> None:
    """Print what each projection on top of a frozen model is worth, as the mean of folds of products."""
    bundle = find_model(model)
    train, val, studio = (gather_folder(data / part, bundle) for part in PARTS)
    tried = ways_of(train.vectors.shape[1])
    rows: list[dict[str, object]] = []
    for learned in ([train], [train, studio]):
        found: list[list[dict[str, float]]] = [[] for _ in tried]
        for fold in folds:
            held_out = np.array(fifth(data, fold))
            for results, projection in zip(found, fit(learned, held_out, tried), strict=True):
                one, two, three = (
                    Photos(projected(projection, part.vectors), part.labels) for part in (train, val, studio)
                )
                results.append(frozen_rates(one, two, three, held_out))
        for way, results in zip(tried, found, strict=True):
            if way.ridge is not None or len(learned) == 1:
                label = "none" if way.ridge is None else f"{way.dimension} values, ridge {way.ridge:g}"
                rows.append({"projection": f"{label}, catalog" if len(learned) > 1 else label, **means(results)})
    print_table(rows)


def frozen_rates(train: Photos, val: Photos, studio: Photos, held_out: NDArray[np.str_]) -> dict[str, float]:
    new, new_in_train = np.isin(val.labels, held_out), np.isin(train.labels, held_out)
    probes, gallery = val.only(~new), train.only(~new_in_train)
    found = identification(probes.vectors, probes.labels, gallery.vectors, gallery.labels)
    unknown = np.concatenate([train.only(new_in_train).vectors, val.only(new).vectors])
    answered = 2.0 - 2.0 * (unknown @ gallery.vectors.T).max(axis=1)
    reached = np.where(found.outcomes.ranks == 1, found.genuine, np.inf)
    of_new = val.only(new)
    in_studio = identification(of_new.vectors, of_new.labels, studio.vectors, studio.labels)
    crowded = held_out_rates(train, val, held_out.tolist())
    both = Photos(np.concatenate([train.vectors, val.vectors]), np.concatenate([train.labels, val.labels]))
    return {
        "R@1": found.top1,
        "studio": first_is_right(probes, studio),
        "DIR 10 %": open_set(reached, answered, (0.1,))[0].dir,
        "new studio": in_studio.top1,
        "five": in_studio.top5,
        "new@5": crowded["held-out@5"],
        "new@5:5": crowded["held-out@5:5"],
        "new DIR 10 %": judge(both.vectors, both.labels, held_out, 0)[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--folds", default="0")
    parser.add_argument("--model", help="an installed model or a bundle: what is learned on top of it, frozen")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "itemrec-recipes-cache")
    given = parser.parse_args()
    if given.model:
        on_top(given.data, given.model, [int(fold) for fold in given.folds.split(",")])
        return
    import_keras()
    from trainer.learn import learn
    from trainer.presets import preset

    plan = preset(given.preset)
    # The built-in model has seen these products.
    plan = replace(plan, network=replace(plan.network, weights="imagenet"))
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="itemrec-projection-") as name:
        for fold in map(int, given.folds.split(",")):
            folder, held_out = Path(name) / str(fold), fifth(given.data, fold)
            paths = RunPaths(without(given.data, held_out, folder / "data"), None, folder / "run", given.cache)
            trained = learn(paths, plan, Lines())
            read = [read_pictures(given.data / part) for part in PARTS]
            both = [outputs(trained.keras, trained.preprocessing, pictures) for pictures in read]
            names = [np.array(pictures.products)[pictures.labels] for pictures in read]
            learned = ~np.isin(names[0], held_out)
            labels = np.unique(names[0][learned], return_inverse=True)[1]
            width = trained.keras.get_layer("projection").units
            heads = trained.dimension - width
            for way, find in WAYS.items():
                mean, matrix = find(both[0][0][learned], labels, width)
                train, val, studio = (
                    Photos(unit_rows(np.hstack([unit_rows(e[:, :heads]), unit_rows((f - mean) @ matrix)])), of)
                    for (f, e), of in zip(both, names, strict=True)
                )
                old = (photos.only(~np.isin(photos.labels, held_out)) for photos in (train, val, studio))
                rows[way].append(known(*old) | held_out_rates(train, val, held_out))
    print_table([{"projection": way, **means(results)} for way, results in rows.items()])


if __name__ == "__main__":
    main()
