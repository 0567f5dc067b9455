"""Planted problems are found, and a clean catalog is clean."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from retrieval.audit import KINDS, AuditReport, Finding, Kind, Settings, Shown, audit_catalog, find_problems, survey
from retrieval.audit.common import summarized
from retrieval.audit.neighbors import VOTERS, mixing, nearest_others, outlier_ratio, surroundings
from retrieval.audit.survey import Survey, Surveyed
from retrieval.catalog.read import read_catalog
from retrieval.distance import normalize, squared_l2
from retrieval.errors import EncoderError, UsageError
from retrieval.models.bundle import Bundle, read_bundle
from tests.audit_catalog import view, view_file, write_views
from tests.fakes import PixelEncoder, fake_bundle, use_pixel_encoder
from tests.progress import Recorder

THRESHOLD = 0.02
Audit = Callable[..., AuditReport]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_views(tmp_path / "catalog", products=8, views=6)


@pytest.fixture
def audit(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    use_pixel_encoder(monkeypatch)
    fake_bundle(tmp_path / "bundle", threshold=THRESHOLD)

    def run(**options: object) -> AuditReport:
        return audit_catalog(read_catalog(root), read_bundle(tmp_path / "bundle"), threads=2, **options)  # type: ignore[arg-type]

    return run


def of_kind(report: AuditReport, kind: Kind) -> list[Finding]:
    return report.by_kind().get(kind, [])


def images_of(finding: Finding) -> set[str]:
    return {picture.image for picture in finding.pictures}


def test_a_clean_catalog_is_clean(audit: Audit) -> None:
    report = audit()
    assert [f.message for f in report.findings if f.severity != "info"] == []
    assert report.clean
    assert (report.pictures, report.products) == (48, 8)
    assert report.settings.threshold == THRESHOLD
    assert report.settings.threshold_source == "model"


def test_a_mislabeled_picture_is_found_with_both_sides(audit: Audit, root: Path) -> None:
    (root / "p001" / "3.png").rename(root / "p005" / "moved.png")
    (finding,) = of_kind(audit(), "mislabeled")
    assert finding.severity == "warning"
    assert finding.products == ("p005", "p001")
    assert [(p.role, p.product_id) for p in finding.pictures] == [
        ("subject", "p005"),
        *[("own", "p005")] * VOTERS,
        *[("other", "p001")] * VOTERS,
    ]
    assert finding.pictures[0].image == "p005/moved.png"
    assert finding.numbers["own_distance"] > finding.numbers["other_distance"]
    assert finding.strength == pytest.approx(
        finding.numbers["own_distance"] / finding.numbers["other_distance"], rel=0.01
    )


def test_a_copy_does_not_vouch_for_a_mislabeled_picture(audit: Audit, root: Path) -> None:
    (root / "p001" / "3.png").rename(root / "p005" / "moved.png")
    shutil.copyfile(root / "p005" / "moved.png", root / "p005" / "copy.png")
    (finding,) = of_kind(audit(), "mislabeled")
    assert finding.products == ("p005", "p001")


def test_a_product_entered_twice_is_found(audit: Audit, root: Path) -> None:
    twin = root / "p003-again"
    twin.mkdir()
    for number in range(6, 12):
        (twin / f"{number}.png").write_bytes(view_file(3, number))
    report = audit()
    (finding,) = of_kind(report, "indistinguishable")
    assert finding.products == ("p003", "p003-again")
    assert finding.numbers["pictures"] == 12
    assert finding.numbers["crossed"] >= 4
    assert {p.role for p in finding.pictures} == {"own", "other"}
    assert not of_kind(report, "mislabeled")


def test_the_same_picture_under_two_products(audit: Audit, root: Path) -> None:
    shutil.copyfile(root / "p000" / "2.png", root / "p004" / "copy.png")
    (finding,) = of_kind(audit(), "same-picture")
    assert finding.severity == "error"
    assert finding.products == ("p000", "p004")
    assert images_of(finding) == {"p000/2.png", "p004/copy.png"}


def test_a_placeholder_under_many_products_is_one_finding(audit: Audit, root: Path) -> None:
    placeholder = view(99, 0)
    for product in range(5):
        placeholder.save(root / f"p{product:03}" / "none.png")
    report = audit()
    (finding,) = of_kind(report, "same-picture")
    assert finding.numbers == {"pictures": 5, "products": 5}
    assert not of_kind(report, "near-same-picture")


def test_a_resaved_picture_under_two_products(audit: Audit, root: Path) -> None:
    with Image.open(root / "p000" / "2.png") as im:
        im.resize((56, 56)).save(root / "p004" / "resaved.jpg", quality=80)
    (finding,) = of_kind(audit(), "near-same-picture")
    assert finding.severity == "warning"
    assert images_of(finding) == {"p000/2.png", "p004/resaved.jpg"}
    assert 0 <= finding.numbers["differing_bits"] <= Settings(THRESHOLD).near_bits


def test_a_copy_within_a_product_is_only_a_note(audit: Audit, root: Path) -> None:
    shutil.copyfile(root / "p000" / "2.png", root / "p000" / "copy.png")
    report = audit()
    assert {"p000/2.png", "p000/copy.png"} in [images_of(f) for f in of_kind(report, "repeated-picture")]
    assert report.clean


def test_broken_blank_and_tiny_files(audit: Audit, root: Path) -> None:
    data = (root / "p000" / "0.png").read_bytes()
    (root / "p000" / "cut.png").write_bytes(data[: len(data) // 2])
    (root / "p000" / "empty.png").write_bytes(b"")
    (root / "p001" / "blank.png").write_bytes(b"")
    Image.new("RGB", (400, 300), (200, 30, 30)).save(root / "p001" / "blank.png")
    view(2, 50, side=12).save(root / "p002" / "low.png")
    view(2, 51, side=7).save(root / "p002" / "refused.png")
    (root / "notes.txt").write_text("shopping list")
    report = audit()
    assert {f.pictures[0].image for f in of_kind(report, "unreadable")} == {"p000/cut.png", "p000/empty.png"}
    assert [f.pictures[0].image for f in of_kind(report, "blank")] == ["p001/blank.png"]
    tiny = {
        f.pictures[0].image: f.severity for f in of_kind(report, "tiny") if "low" in f.message or "ref" in f.message
    }
    assert tiny == {"p002/low.png": "warning", "p002/refused.png": "error"}
    assert [f.severity for f in of_kind(report, "unused-file")] == ["info"]


def test_blank_pictures_are_not_also_copies_of_each_other(audit: Audit, root: Path) -> None:
    for product, value in enumerate(((250, 250, 250), (251, 251, 251))):
        Image.new("RGB", (400, 300), value).save(root / f"p{product:03}" / "blank.png")
    report = audit()
    assert len(of_kind(report, "blank")) == 2
    assert not of_kind(report, "near-same-picture")
    assert not of_kind(report, "mislabeled")


def test_tables_and_pictures_that_do_not_meet(audit: Audit, root: Path) -> None:
    table = (root / "products.csv").read_text().replace("p007,Product 7\n", "ghost,Never photographed\n")
    (root / "products.csv").write_text(table)
    (root / "p006" / "deep").mkdir()
    report = audit()
    assert [f.products for f in of_kind(report, "no-metadata")] == [("p007",)]
    assert [f.products for f in of_kind(report, "no-pictures")] == [("ghost",)]


def test_a_table_that_names_a_missing_picture(audit: Audit, root: Path) -> None:
    rows = [f"p{p:03},p{p:03}/{n}.png" for p in range(8) for n in range(6)]
    (root / "images.csv").write_text("\n".join(["product_id,image", *rows[1:], "p000,p000/gone.png"]) + "\n")
    report = audit()
    assert ["gone.png" in f.message for f in of_kind(report, "no-pictures")] == [True]
    assert ["p000/0.png" in f.message for f in of_kind(report, "no-metadata")] == [True]


def test_too_few_views_counts_what_can_be_read(audit: Audit, root: Path) -> None:
    for number in range(1, 6):
        (root / "p000" / f"{number}.png").unlink()
    (root / "p000" / "1.png").write_bytes(b"no picture")
    (finding,) = of_kind(audit(), "few-views")
    assert finding.products == ("p000",)
    assert "1 picture that can be read" in finding.message
    assert len(of_kind(audit(min_views=7), "few-views")) == 8


def test_without_a_calibrated_model_the_threshold_comes_from_the_catalog(audit: Audit, tmp_path: Path) -> None:
    bundle = read_bundle(tmp_path / "bundle")
    data = json.loads((bundle.path / "bundle.json").read_text())
    data["calibration"] = None
    (bundle.path / "bundle.json").write_text(json.dumps(data))
    settings = audit().settings
    assert settings.threshold_source == "catalog"
    assert 0.0 < settings.threshold < 1.0
    assert audit(threshold=0.5).settings.threshold_source == "given"


@pytest.mark.parametrize("options", [{"threshold": 4.5}, {"threshold": float("nan")}, {"min_views": 0}])
def test_impossible_settings_are_refused(audit: Audit, options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected"):
        audit(**options)


def test_the_report_is_ranked_and_json(audit: Audit, root: Path) -> None:
    (root / "p001" / "3.png").rename(root / "p005" / "moved.png")
    (root / "p000" / "empty.png").write_bytes(b"")
    shutil.copyfile(root / "p002" / "0.png", root / "p003" / "copy.png")
    report = audit()
    order = [list(KINDS).index(f.kind) for f in report.findings]
    assert order == sorted(order)
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert document["schema"] == "itemrec.audit/1"
    assert document["clean"] is False
    assert document["counts"]["error"] == 2
    assert sum(document["kinds"].values()) == len(document["findings"])
    assert all(f["advice"] and f["message"] for f in document["findings"])


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    use_pixel_encoder(monkeypatch)
    return fake_bundle(tmp_path / "model")


class Failing:
    """Cannot embed pictures that are red on the whole, as a network with dead units could not."""

    preprocessing = PixelEncoder().preprocessing
    dimension = PixelEncoder().dimension

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if (pixels[..., 0] > 250).all(axis=(1, 2)).any():
            raise EncoderError("expected a vector with a direction, received norm 0")
        return PixelEncoder().encode(pixels)


@pytest.fixture
def failing(model: Bundle, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr("retrieval.models.embedding.load_encoder", lambda bundle, threads=1: Failing())
    return model


def test_a_picture_that_cannot_be_embedded_takes_no_other_with_it(root: Path, failing: Bundle) -> None:
    Image.new("RGB", (40, 40), (255, 0, 0)).save(root / "p000" / "red.png")
    seen = survey(read_catalog(root), failing, threads=2)
    assert len(seen.pictures) == 48
    assert [(f.image, f.code) for f in seen.refused] == [("p000/red.png", "not-embeddable")]


def test_a_model_that_embeds_nothing_is_an_error(tmp_path: Path, failing: Bundle) -> None:
    (tmp_path / "catalog" / "p").mkdir(parents=True)
    Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / "catalog" / "p" / "red.png")
    with pytest.raises(EncoderError):
        survey(read_catalog(tmp_path / "catalog"), failing)


def test_progress_counts_every_file(root: Path, model: Bundle) -> None:
    (root / "p000" / "empty.png").write_bytes(b"")
    progress = Recorder()
    survey(read_catalog(root), model, threads=2, progress=progress)
    assert progress.stages == [("Auditing", 49, "images")]
    assert progress.done == list(range(1, 50))


def clusters(sizes: list[int], spread: float, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Products around directions of their own, shuffled."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centers = rng.normal(size=(len(sizes), 12))
    return normalize(centers[codes] + spread * rng.normal(size=(len(codes), 12))), codes


@pytest.mark.parametrize("spread", [0.2, 0.6])
def test_surroundings_agree_with_brute_force(spread: float) -> None:
    vectors, codes = clusters([1, 2, 3, 5, 8, 13, 4, 1], spread)
    around = surroundings(vectors, codes)
    distances = squared_l2(vectors, vectors)
    np.fill_diagonal(distances, np.inf)
    sizes = np.bincount(codes)
    crossings: dict[tuple[int, int], int] = {}
    for i, code in enumerate(codes):
        means = {}
        for other in range(len(sizes)):
            near = np.sort(distances[i, codes == other])
            near = near[np.isfinite(near)][:VOTERS]
            if other == code:
                assert around.own[i] == pytest.approx(near.mean() if len(near) else np.inf, abs=1e-6)
                # Matrix products of other shapes round differently in the last bit.
                assert around.nearest_own[i] == pytest.approx(near[0] if len(near) else np.inf, abs=1e-6)
            elif sizes[other] >= 2:
                means[other] = near.mean()
            if other != code and np.isfinite(around.nearest_own[i]) and near[0] < around.nearest_own[i]:
                pair = (min(code, other), max(code, other))
                crossings[pair] = crossings.get(pair, 0) + 1
        assert around.other_code[i] == min(means, key=lambda k: means[k])
        assert around.other[i] == pytest.approx(min(means.values()), abs=1e-6)
    assert {(a, b): c for a, b, c in around.crossings.tolist()} == crossings


def test_surroundings_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, codes = clusters([40] * 60, 0.3)
    whole = surroundings(vectors, codes)
    monkeypatch.setattr("retrieval.audit.neighbors._BLOCK_VALUES", 2400 * 7)
    parts = surroundings(vectors, codes)
    np.testing.assert_allclose(parts.own, whole.own, atol=1e-6)
    np.testing.assert_allclose(parts.other, whole.other, atol=1e-6)
    np.testing.assert_array_equal(parts.crossings, whole.crossings)


@pytest.mark.parametrize("sizes", [[], [1], [5], [1, 1], [2, 1]])
def test_surroundings_of_hardly_anything(sizes: list[int]) -> None:
    vectors, codes = clusters(sizes, 0.2) if sizes else (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    around = surroundings(vectors, codes)
    assert len(around.own) == len(codes)
    assert around.crossings.shape == (0, 3) or sizes == [2, 1]


def test_equal_vectors_cross_nothing() -> None:
    vectors = np.tile(normalize(np.ones((1, 6))), (600, 1))
    around = surroundings(vectors, np.arange(600) // 4)
    assert len(around.crossings) == 0
    np.testing.assert_allclose(around.own, around.other, atol=1e-6)


def test_mixing_of_known_cases() -> None:
    sizes = np.array([100, 100, 3])
    apart, random, few = mixing(np.array([0, 100, 6]), sizes, sizes)
    assert apart == pytest.approx(0.0, abs=1e-12)
    assert 0.75 < random < 1.0
    assert few == pytest.approx(6 / (6 + 3.09**2) / 0.6, rel=1e-6)


def test_the_outlier_bound_ignores_outliers() -> None:
    ratios = np.concatenate([np.exp(np.random.default_rng(0).normal(-1.0, 0.2, 1000)), np.full(50, 30.0)])
    assert outlier_ratio(ratios, 0.0) == pytest.approx(np.exp(-1.0), rel=0.05)
    assert outlier_ratio(ratios, 2.5) == pytest.approx(np.exp(-0.5), rel=0.1)
    assert outlier_ratio(np.zeros(0), 2.5) == 0.0


def test_lone_pictures_within_a_given_threshold_are_a_note() -> None:
    vectors = normalize(np.array([[1.0, 0.0, 0.0], [1.0, 0.1, 0.0], [0.0, 0.0, 1.0]]))
    pictures = tuple(Surveyed(p, f"{p}/1.jpg", p, 0, 500, 500, 9999, 50.0) for p in ("a", "b", "c"))
    seen = Survey(pictures, vectors, (), {"a": {}, "b": {}, "c": {}}, has_table=False)
    found = [f for f in find_problems(seen, Settings(0.05)) if f.kind == "indistinguishable"]
    assert [(f.severity, f.products) for f in found] == [("info", ("a", "b"))]
    read_off = Settings(0.05, threshold_source="catalog")
    assert not [f for f in find_problems(seen, read_off) if f.kind == "indistinguishable"]


def test_nearest_others_agree_with_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = clusters([20] * 10, 0.5)
    distances = squared_l2(vectors, vectors)
    np.fill_diagonal(distances, np.inf)
    monkeypatch.setattr("retrieval.audit.neighbors._BLOCK_VALUES", 200 * 3)
    subjects = np.array([0, 7, 50, 199, 3])
    which, found = nearest_others(vectors, subjects)
    np.testing.assert_array_equal(which, distances[subjects].argmin(axis=1))
    np.testing.assert_allclose(found, distances[subjects].min(axis=1), atol=1e-6)


@pytest.mark.parametrize("views", [0, 1, 3])
def test_a_catalog_of_one_product(views: int, tmp_path: Path, model: Bundle) -> None:
    (tmp_path / "catalog" / "only").mkdir(parents=True)
    for number in range(views):
        view(0, number).save(tmp_path / "catalog" / "only" / f"{number}.png")
    seen = survey(read_catalog(tmp_path / "catalog"), model)
    kinds = {f.kind for f in find_problems(seen, Settings(THRESHOLD)) if f.severity != "info"}
    assert kinds == {0: {"no-pictures"}, 1: {"few-views"}, 3: set()}[views]


def finding(kind: Kind, *products: str, severity: str = "warning", **numbers: int) -> Finding:
    shown = tuple(Shown(product, f"{product}/1.jpg") for product in products)
    return Finding(kind, severity, products, f"{kind} of {products}", numbers=numbers, pictures=shown)  # type: ignore[arg-type]


def test_what_holds_for_most_products_is_one_note() -> None:
    names = [f"p{n:02}" for n in range(20)]
    single = [finding("few-views", name, pictures=1) for name in names[:19]]
    blank = [finding("blank", name, severity="error") for name in names]
    settings = Settings(0.5, model="starter")
    *kept, one = summarized([*blank, *single], 20, 19, settings)
    assert kept == blank, "an error is about that file"
    assert (one.kind, one.severity, one.common) == ("few-views", "info", True)
    assert one.message == "19 of 20 products have a single picture"
    assert one.products == tuple(names[:19])
    assert one.numbers == {"products": 19, "of": 20, "findings": 19}
    assert len(one.pictures) == 8

    few = single[:10]
    assert summarized(few, 20, 19, settings) == few, "half is not most"
    mixed = [*single, finding("few-views", "p19", pictures=2)]
    assert (
        summarized(mixed, 20, 19, Settings(0.5, min_views=3))[0].message
        == "20 of 20 products have fewer than 3 pictures"
    )


def test_a_model_that_tells_hardly_any_product_apart_is_named_and_no_reason_to_fail() -> None:
    names = [f"p{n:02}" for n in range(12)]
    pairs = [finding("indistinguishable", *names[n : n + 2]) for n in range(0, 12, 2)]
    (one,) = summarized(pairs, 12, 48, Settings(0.5, model="starter"))
    assert one.severity == "info"
    assert one.message == "starter cannot tell 12 of 12 products from another, in 6 pairs"
    assert summarized(pairs[:2], 12, 48, Settings(0.5, model="starter")) == pairs[:2]


def test_what_is_missing_for_most_products_stays_a_warning() -> None:
    names = [f"p{n:02}" for n in range(12)]
    rows = [finding("no-metadata", name, pictures=1) for name in names]
    stray = Finding("no-metadata", "warning", (), "x.jpg: no row", pictures=(Shown("", "x.jpg"),))
    assert summarized([*rows, stray], 12, 12, Settings(0.5))[0] == stray
    assert summarized([*rows, stray], 12, 12, Settings(0.5))[1].message == "12 of 12 products have no row in the table"
    assert summarized(rows, 12, 12, Settings(0.5))[0].severity == "warning"


def test_a_shop_with_one_picture_of_each_product_passes(tmp_path: Path, model: Bundle) -> None:
    seen = survey(read_catalog(write_views(tmp_path / "catalog", products=12, views=1)), model)
    found = find_problems(seen, Settings(THRESHOLD, model=model.name))
    assert [(f.severity, f.message) for f in found if f.kind == "few-views"] == [
        ("info", "12 of 12 products have a single picture")
    ]


def test_a_pair_that_cannot_be_told_apart_names_the_model(audit: Audit, root: Path) -> None:
    twin = root / "p003-again"
    twin.mkdir()
    for number in range(6, 12):
        (twin / f"{number}.png").write_bytes(view_file(3, number))
    (one,) = of_kind(audit(), "indistinguishable")
    assert one.severity == "warning"
    assert one.message.startswith("pixels cannot tell p003 from p003-again: ")
