import csv
import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from trainer.synthetic import draw_products, photograph, studio_picture, write_catalog, write_demo, write_photos

PRODUCTS = draw_products(60, seed=2)
KINDS = {p.kind: p for p in draw_products(300, seed=2)}


def digest(picture):
    return hashlib.sha256(picture.tobytes()).hexdigest()


def difference(a, b):
    """Mean absolute difference of two pictures, 0..255."""
    return float(np.abs(np.asarray(a, dtype=np.int16) - np.asarray(b, dtype=np.int16)).mean())


def families():
    grouped = {}
    for product in PRODUCTS:
        grouped.setdefault(product.family, []).append(product)
    return [members for members in grouped.values() if len(members) > 1]


def test_a_shorter_draw_is_the_beginning_of_a_longer_one():
    long = draw_products(40, seed=5)
    for count in (0, 1, 5, 17):
        short = draw_products(count, seed=5)
        assert short == long[:count]
        assert [p.metadata for p in short] == [p.metadata for p in long[:count]]


def test_ids_are_unique_slugs_and_every_product_says_what_it_is():
    products = draw_products(1500, seed=1)
    assert len({p.product_id for p in products}) == len(products)
    for product in products:
        assert product.product_id.isascii()
        assert product.product_id == product.product_id.lower().strip("-")
        assert set(product.metadata) == {"name", "brand", "category", "flavor", "size", "price", "url"}
        assert product.metadata["price"] > 0
        assert product.metadata["url"] == f"https://shop.example/p/{product.product_id}"


def test_seeds_do_not_share_products():
    drawn = [{p.metadata["brand"] for p in draw_products(100, seed=s)} for s in (1, 2, 3, 7)]
    shared = [a & b for i, a in enumerate(drawn) for b in drawn[:i]]
    assert max(map(len, shared)) <= 2, "made-up brands may coincide by chance, designs do not"
    first = [studio_picture(draw_products(1, seed=s)[0], size=64) for s in (1, 2, 3, 7)]
    assert len({digest(p) for p in first}) == 4


def test_there_are_packages_of_many_shapes_and_loose_produce():
    products = draw_products(300, seed=1)
    assert len({p.kind for p in products}) >= 11
    assert 0.15 < np.mean([p.kind == "produce" for p in products]) < 0.5
    assert len({p.metadata["category"] for p in products}) > 25


SCRIPT = """
import hashlib, sys
from trainer.synthetic import draw_products, photograph, studio_picture
products = draw_products(10, seed=2)
found = {}
for k in reversed(range(4)):
    photo = photograph(products[k], seed=9, size=64, neighbors=products[:10])
    found[k] = hashlib.sha256(photo.tobytes() + studio_picture(products[k], size=64).tobytes()).hexdigest()
print(" ".join(found[k] for k in range(4)))
assert not [m for m in sys.modules if m.split(".")[0] in ("tensorflow", "keras")]
"""


def test_pictures_depend_on_their_keys_only_not_on_the_process_or_the_order():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    here = []
    for product in PRODUCTS[:4]:
        photo = photograph(product, seed=9, size=64, neighbors=PRODUCTS[:10])
        here.append(hashlib.sha256(photo.tobytes() + studio_picture(product, size=64).tobytes()).hexdigest())
    assert done.stdout.split() == here


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_shape_can_be_shown_and_photographed(kind):
    product = KINDS[kind]
    for size in (48, 160):
        for view in range(4):
            studio = studio_picture(product, size=size, view=view)
            assert (studio.mode, studio.size) == ("RGB", (size, size))
        corners = np.asarray(studio)[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.min() >= 240, "the ground of a studio picture is white"
        assert np.asarray(studio).std() > 10, "and something stands on it"
        photo = photograph(product, seed=4, size=size, neighbors=PRODUCTS[:6])
        assert (photo.mode, photo.size) == ("RGB", (size, size))


def test_all_products_look_different():
    studio = [studio_picture(p, size=96) for p in PRODUCTS]
    assert len({digest(p) for p in studio}) == len(PRODUCTS)


def test_twins_differ_in_pixels_but_less_than_strangers():
    near, far = [], []
    for members in families():
        if members[0].kind == "produce":
            continue
        a, b = (np.asarray(studio_picture(m, size=96, view=1)) for m in members[:2])
        assert (a != b).any(axis=-1).mean() > 0.002
        near.append(difference(a, b))
    shown = [studio_picture(m[0], size=96, view=1) for m in families()]
    far = [difference(a, b) for i, a in enumerate(shown) for b in shown[:i]]
    assert np.median(near) < 0.6 * np.median(far)


def test_a_family_shares_brand_package_and_category():
    for members in families():
        for what in ("brand", "category"):
            assert len({m.metadata[what] for m in members}) == 1
        assert len({m.kind for m in members}) == 1
        assert len({(m.metadata["flavor"], m.metadata["size"]) for m in members}) == len(members)


@pytest.mark.parametrize("kind", ["gable", "bottle", "pouch", "produce"])
def test_photos_of_a_product_differ_from_one_another_and_from_its_studio_picture(kind):
    product = KINDS[kind]
    pictures = [photograph(product, seed=s, size=96) for s in range(8)] + [studio_picture(product, size=96)]
    assert min(difference(a, b) for i, a in enumerate(pictures) for b in pictures[:i]) > 8


def test_harder_photos_are_farther_from_the_product():
    def spread(difficulty):
        photos = [photograph(KINDS["gable"], seed=s, size=64, difficulty=difficulty) for s in range(24)]
        return np.std([np.asarray(p).mean() for p in photos])

    assert spread(1.0) > spread(0.0)


@pytest.mark.parametrize("wrong", [{"difficulty": -0.1}, {"difficulty": 1.1}, {"size": 8}])
def test_impossible_photos_are_refused(wrong):
    with pytest.raises(ValueError, match="expected a difficulty in"):
        photograph(PRODUCTS[0], seed=1, **wrong)


def test_negative_draws_are_refused():
    for count, seed in ((-1, 1), (1, -1)):
        with pytest.raises(ValueError, match="expected a count and a seed"):
            draw_products(count, seed=seed)


def test_a_catalog_on_disk_can_be_read_as_one(tmp_path):
    from retrieval.catalog.read import read_catalog

    write_catalog(tmp_path / "catalog", PRODUCTS[:5], views=2, phone=1, size=64)
    entries = list(read_catalog(tmp_path / "catalog").entries())
    assert len(entries) == 15
    with (tmp_path / "catalog" / "products.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [r["product_id"] for r in rows] == [p.product_id for p in PRODUCTS[:5]]
    assert rows[0]["name"] == PRODUCTS[0].metadata["name"]


def test_photos_on_disk_lie_in_product_folders(tmp_path):
    files = write_photos(tmp_path, PRODUCTS[:3], per_product=2, seed=3, size=64)
    assert [f.relative_to(tmp_path).as_posix() for f in files] == [
        f"{p.product_id}/photo_{k:03d}.jpg" for p in PRODUCTS[:3] for k in range(2)
    ]
    assert len({f.read_bytes() for f in files}) == 6
    more = write_photos(tmp_path / "again", PRODUCTS[:3], per_product=3, seed=3, size=64)
    assert more[0].read_bytes() == files[0].read_bytes()


def test_the_demo_has_a_catalog_known_photos_and_strangers(tmp_path):
    layout = write_demo(tmp_path, products=8, known=4, unknown=3, size=64)
    sold = {f.name for f in layout.catalog.iterdir() if f.is_dir()}
    assert len(sold) == 8
    assert all(len(list((layout.catalog / s).iterdir())) == 6 for s in sold)
    assert (layout.catalog / "products.csv").is_file()
    known = [f for f, product in layout.truth.items() if product is not None]
    strangers = [f for f, product in layout.truth.items() if product is None]
    assert (len(known), len(strangers)) == (4, 3)
    assert all(f.parent == layout.known and layout.truth[f] in sold for f in known)
    assert all(f.name.startswith(layout.truth[f]) for f in known)
    assert all(f.parent == layout.unknown and f.stem.rsplit("-", 1)[0] not in sold for f in strangers)
    for file in layout.truth:
        with Image.open(file) as photo:
            assert photo.size == (64, 64)


def test_no_demo_stranger_has_a_twin_in_the_catalog(tmp_path):
    layout = write_demo(tmp_path, products=10, known=1, unknown=6, size=48)
    drawn = {p.product_id: p.family for p in draw_products(200, seed=7)}
    sold = {drawn[f.name] for f in layout.catalog.iterdir() if f.is_dir()}
    strangers = {drawn[f.stem.rsplit("-", 1)[0]] for f in layout.unknown.iterdir()}
    assert len(strangers) == 6
    assert not strangers & sold
