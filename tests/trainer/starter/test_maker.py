"""What the built-in model learns from, and what its thresholds rest on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.lazily import lazily
from trainer.progress import Silent
from trainer.starter.first_day import Embedded, Shop, fold

calibrate = lazily("trainer.starter.calibrate", "calibrate")
measure_kind = lazily("trainer.starter.calibrate", "measure_kind")
Fold = lazily("trainer.starter.folds", "Fold")


def test_real_products_have_their_share_and_drawings_fewer_views(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.starter import mixture

    def write(place: Path, seed: int) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(place)

    number = 0
    for part in mixture.PARTS:
        for product in ("apple", "pear"):
            write(tmp_path / "shop" / part / product / "1.png", number := number + 1)
    (tmp_path / "shop" / "catalog" / "products.csv").write_text("product_id,category\napple,fruit\npear,fruit\n")
    for product in ("p1", "p2", "p3"):
        write(tmp_path / "drawn" / product / "0.png", number := number + 1)
    monkeypatch.setattr(mixture, "draw", lambda *_, **__: tmp_path / "drawn")
    data = mixture.mix(mixture.read_real(tmp_path / "shop", Silent()), tmp_path, Silent())
    assert data.pictures.products == ("apple", "p1", "p2", "p3", "pear")
    assert data.mixture is not None
    assert data.mixture.reserved == {"apple", "pear"}
    views, few = data.fewer_views()
    names = data.pictures.names()
    assert {names[i] for i, picture in enumerate(data.pictures.hashes) if picture in few} == {"p1", "p2", "p3"}
    assert views == mixture.recipe.DRAWN_VIEWS
    assert data.repeats.tolist() == [1, 1, 1, 1, 4, 4, 1, 1, 1]
    sampler = data.sampler(mixture.recipe.PLAN, 0)
    assert sampler.reserved is not None
    assert sampler.reserved.tolist() == [True, False, False, False, True]
    assert sampler.families is not None
    assert sampler.families[0] == sampler.families[4]
    lacking = data.without(["pear"])
    assert lacking.sampler(mixture.recipe.PLAN, 0).reserved.tolist() == [True, False, False, False]  # type: ignore[union-attr]


def test_it_is_calibrated_on_products_that_each_fold_did_not_see() -> None:
    products = [f"p{i:02}" for i in range(80)]
    rng = np.random.default_rng(0)

    def embedded(each: int, spread: float) -> Embedded:
        centers = np.repeat(np.eye(80), each, axis=0)
        vectors = centers + rng.normal(0, spread, centers.shape)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embedded(vectors.astype(np.float32), np.repeat(np.array(products), each))

    folds = [Fold(fold(products, n), Shop(embedded(6, 0.1), embedded(4, 0.1), embedded(1, 0.1))) for n in range(5)]
    calibration = calibrate(folds)
    kinds = [one.kind for one in calibration.galleries]
    assert kinds == ["studio", "few", "mixed"]
    assert calibration.threshold == calibration.galleries[-1].calibration.threshold
    for one in calibration.galleries:
        (expect,) = one.expect
        assert (expect.who, expect.photos, expect.products) == ("new", 800 if one.kind == "studio" else 320, 80)
        assert one.shape.products == 80
    assert "80 products, none of them seen" in calibration.measured_on
    # Rates are claimed of products of one more lot: the interval is that of five lots and one.
    assert measure_kind("few", folds).distances.others == 5
