"""Who goes where: ratios, determinism, and what an added picture moves."""

import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import UsageError
from tests.trainer.prepare.samples import record
from trainer.prepare.split import VISIT, assign, visits
from trainer.prepare.types import EIGHT_ONE_ONE, Options, Picture, Ratios

sizes = st.lists(st.integers(1, 60), min_size=1, max_size=30)
ratios = st.sampled_from(["8:1:1", "7:2:1", "1:1:1", "9:1:0", "8:0:2", "0.5:0.25:0.25", "0:1:1"]).map(Ratios.parse)


def singles(counts: list[int]) -> list[tuple[Picture, ...]]:
    return [(record(f"p{p}", f"{n}.jpg"),) for p, count in enumerate(counts) for n in range(count)]


def mixed(seed: int, products: int, groups: int) -> list[tuple[Picture, ...]]:
    """Groups of one to four pictures, some over several products."""
    rng = random.Random(seed)
    found = []
    for number in range(groups):
        own = rng.randrange(products)
        found.append(
            tuple(
                record(f"p{rng.randrange(products) if rng.random() < 0.2 else own}", f"{number}-{n}.jpg")
                for n in range(rng.choice([1, 1, 1, 2, 4]))
            )
        )
    return found


def by_source(groups: list[tuple[Picture, ...]], options: Options) -> dict[str, str]:
    return {p.source: s for g, s in zip(groups, assign(groups, options), strict=True) for p in g}


@given(sizes, ratios, st.integers(0, 99))
def test_every_product_is_within_one_picture_of_the_ratios(counts: list[int], wanted: Ratios, seed: int) -> None:
    groups = singles(counts)
    got: dict[str, Counter[str]] = {}
    for group, split in zip(groups, assign(groups, Options(ratios=wanted, seed=seed)), strict=True):
        got.setdefault(group[0].product_id, Counter())[split] += 1
    for p, count in enumerate(counts):
        splits = got[f"p{p}"]
        assert splits.total() == count
        for split, share in wanted.shares.items():
            # One more where train must not stay empty.
            assert abs(splits[split] - count * share) <= (1 if count * wanted.shares["train"] >= 1 else 2)
            assert share or not splits[split]
        if wanted.shares["train"]:
            assert splits["train"]


def test_the_whole_comes_near_the_ratios_even_when_products_are_small() -> None:
    groups = singles([3] * 1000)
    got = Counter(assign(groups, Options()))
    assert abs(got["train"] / 3000 - 0.8) < 0.02
    assert abs(got["val"] / 3000 - 0.1) < 0.02
    assert abs(got["test"] / 3000 - 0.1) < 0.02


def test_a_single_picture_is_for_training() -> None:
    assert set(assign(singles([1] * 50), Options())) == {"train"}


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 40), st.sampled_from(["image", "product"]))
def test_groups_are_never_parted_and_order_does_not_matter(seed: int, products: int, groups: int, by: str) -> None:
    made = mixed(seed, products, groups)
    options = Options(by=by, seed=seed)  # type: ignore[arg-type]
    expected = by_source(made, options)
    shuffled = [tuple(random.Random(seed).sample(g, len(g))) for g in random.Random(seed).sample(made, len(made))]
    assert by_source(shuffled, options) == expected
    assert set(expected.values()) <= {"train", "val", "test"}


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 40))
def test_every_product_is_trained_on(seed: int, products: int, groups: int) -> None:
    made = mixed(seed, products, groups)
    splits = by_source(made, Options(seed=seed))
    for product in {p.product_id for g in made for p in g}:
        assert "train" in {s for source, s in splits.items() if source.startswith(f"{product}/")}


@given(st.integers(0, 999), st.integers(1, 12), st.integers(1, 40), ratios)
def test_by_product_no_product_is_parted(seed: int, products: int, groups: int, wanted: Ratios) -> None:
    splits = by_source(mixed(seed, products, groups), Options(by="product", seed=seed, ratios=wanted))
    of_product: dict[str, set[str]] = {}
    for source, split in splits.items():
        of_product.setdefault(source.split("/")[0], set()).add(split)
    assert all(len(found) == 1 for found in of_product.values())


@given(st.integers(1, 200), ratios, st.integers(0, 99))
def test_by_product_the_products_keep_the_ratios(n: int, wanted: Ratios, seed: int) -> None:
    got = Counter(assign(singles([2] * n), Options(by="product", ratios=wanted, seed=seed)))
    kinds = sum(share > 0 for share in wanted.shares.values())
    for split, share in wanted.shares.items():
        assert abs(got[split] / 2 - n * share) <= 1 + (n < 10)
        assert share or not got[split]
        if share and n >= kinds:
            assert got[split]


@given(st.integers(2, 60), st.integers(0, 99), st.integers(0, 99))
def test_an_added_picture_moves_at_most_one_over_each_border(count: int, seed: int, number: int) -> None:
    groups = singles([count, 20])
    options = Options(seed=seed)
    before = by_source(groups, options)
    after = by_source([*groups, (record("p0", f"new {number}.jpg"),)], options)
    moved = [source for source, split in before.items() if after[source] != split]
    assert len(moved) <= 2
    assert all(source.startswith("p0/") for source in moved)


@given(st.integers(3, 60), st.integers(0, 99))
def test_an_added_product_moves_at_most_one_over_each_border(count: int, seed: int) -> None:
    groups = singles([2] * count)
    options = Options(by="product", seed=seed)
    before = by_source(groups, options)
    after = by_source([*groups, (record("new", "1.jpg"),)], options)
    assert len({source.split("/")[0] for source, split in before.items() if after[source] != split}) <= 2


def test_a_renamed_picture_stays_where_it_is() -> None:
    groups = singles([40])
    renamed = [(record("p0", f"renamed {n}.jpg", content=f"p0/{n}.jpg"),) for n in range(40)]
    assert assign(groups, Options()) == assign(renamed, Options())


def test_another_seed_divides_another_way() -> None:
    groups = singles([40])
    assert assign(groups, Options(seed=0)) != assign(groups, Options(seed=1))


def test_given_splits_are_kept() -> None:
    groups = [(record("p", f"{s}.jpg", split=s),) for s in ("val", "train", "test")]
    assert assign(groups, Options(keep_splits=True)) == ["val", "train", "test"]


def test_no_pictures_no_splits() -> None:
    assert assign([], Options()) == assign([], Options(by="product")) == []


def test_ratios_are_read_as_people_write_them() -> None:
    assert Ratios.parse("8:1:1") == EIGHT_ONE_ONE
    assert Ratios.parse(" 80 : 10:10").shares == EIGHT_ONE_ONE.shares == Ratios.parse("0.8:0.1:0.1").shares
    assert str(Ratios.parse("0.70:0.2:0.1")) == "0.7:0.2:0.1"
    assert Ratios.parse(str(Ratios.parse("7:2:1"))).shares["val"] == Fraction(1, 5)


@pytest.mark.parametrize("text", ["8:1", "8:1:1:1", "a:b:c", "-8:1:1", "0:0:0", "1e9:1:1", "", "8:1:", "nan:1:1"])
def test_bad_ratios_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected ratios train:val:test"):
        Ratios.parse(text)


@pytest.mark.parametrize(
    "options", [{"by": "hand"}, {"max_side": 8}, {"max_side": 10**6}, {"near_bits": 40}, {"min_views": 0}], ids=str
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Options(**options)  # type: ignore[arg-type]


def visited(product: str, starts: list[int], each: int) -> list[tuple[Picture, ...]]:
    return [(record(product, f"{start}-{n}.jpg", taken=start + 60 * n),) for start in starts for n in range(each)]


def test_photos_of_one_visit_are_in_one_split() -> None:
    groups = [g for p in range(40) for g in visited(f"p{p}", [0, 10_000, 20_000, 30_000], 6)]
    splits = by_source(groups, Options())
    counts: Counter[str] = Counter()
    for group in groups:
        start = group[0].source.split("-")[0]
        assert len({split for source, split in splits.items() if source.startswith(start + "-")}) == 1
        counts[splits[group[0].source]] += 1
    assert 0.05 * len(groups) < counts["val"] < 0.2 * len(groups)
    assert 0.05 * len(groups) < counts["test"] < 0.2 * len(groups)
    assert {p.source.split("/")[0] for g in groups for p in g if splits[p.source] == "train"} == {
        f"p{p}" for p in range(40)
    }


def test_a_visit_ends_where_nothing_was_taken_for_long() -> None:
    times = [0, VISIT, 2 * VISIT, 3 * VISIT + 1, 3 * VISIT + 2]
    groups = [(record("p", f"{n}.jpg", taken=time),) for n, time in enumerate(times)]
    assert visits(groups) == [0, 0, 0, 3, 3]
    assert visits(groups[::-1]) == [1, 1, 4, 4, 4]


def test_a_product_of_one_visit_and_undated_photos_are_divided_as_before() -> None:
    one = visited("p", [0], 12)
    assert visits(one) == list(range(12))
    undated = singles([12])
    assert visits(undated) == list(range(12))
    split = by_source(one, Options())
    assert set(split.values()) == set(by_source(undated, Options()).values())
    both = [*visited("p", [0], 2), (record("p", "x.jpg"),)]
    assert visits(both) == [0, 0, 2]


def test_photos_of_two_products_are_no_visit() -> None:
    together = (record("a", "1.jpg", taken=0), record("b", "1.jpg", taken=0))
    groups = [together, (record("a", "2.jpg", taken=10),), (record("a", "3.jpg", taken=99_999),)]
    assert visits(groups) == [0, 1, 2]
