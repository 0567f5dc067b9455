"""What repeats what, against comparing all with all."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.prepare.samples import clustered, near, record
from trainer.prepare.likeness import Likeness
from trainer.prepare.types import Findings, Picture

many = st.builds(
    clustered,
    st.integers(0, 10_000),
    st.integers(1, 5),
    st.integers(1, 40),
    splits=st.sampled_from([(None,), ("train", "val", "test")]),
)

examples = settings(max_examples=60)


def confirmed(likeness: Likeness, seed: int) -> list[bool]:
    """Some of the suspects are copies, the others only look alike."""
    return [random.Random(f"{seed} {i} {j}").random() < 0.5 for i, j, _ in likeness.suspects()]


def findings(pictures: Sequence[Picture], *, seed: int = 0, keep_conflicts: bool = False, bits: int = 6) -> Findings:
    likeness = Likeness(pictures, bits)
    return likeness.findings(confirmed(likeness, seed), keep_conflicts=keep_conflicts)


def kept(found: Findings) -> list[Picture]:
    return [picture for group in found.groups for picture in group]


@examples
@given(many, st.booleans(), st.integers(0, 5))
def test_every_picture_is_kept_or_accounted_for(pictures: list[Picture], keep_conflicts: bool, seed: int) -> None:
    found = findings(pictures, seed=seed, keep_conflicts=keep_conflicts)
    out = [d.picture.source for d in found.duplicates]
    if not keep_conflicts:
        out += [p.source for c in found.conflicts for p in c.pictures]
    assert sorted([p.source for p in kept(found)] + out) == sorted(p.source for p in pictures)


@examples
@given(many, st.booleans(), st.integers(0, 5))
def test_no_kept_pictures_of_a_product_repeat_each_other(
    pictures: list[Picture], keep_conflicts: bool, seed: int
) -> None:
    for one, other in itertools.combinations(kept(findings(pictures, seed=seed, keep_conflicts=keep_conflicts)), 2):
        assert one.product_id != other.product_id or not near(one, other)


@examples
@given(many, st.integers(0, 5))
def test_what_repeats_is_in_one_group_and_in_one_split(pictures: list[Picture], seed: int) -> None:
    found = findings(pictures, seed=seed, keep_conflicts=True)
    group_of = {p.source: number for number, group in enumerate(found.groups) for p in group}
    assert len(group_of) == sum(map(len, found.groups))
    looked_alike = {frozenset((a.one.source, a.other.source)) for a in found.look_alikes}
    for one, other in itertools.combinations(kept(found), 2):
        if near(one, other) and frozenset((one.source, other.source)) not in looked_alike:
            assert group_of[one.source] == group_of[other.source]
    for group in found.groups:
        assert len({p.split for p in group}) == 1


@examples
@given(many, st.integers(0, 5))
def test_nothing_kept_lies_under_two_products(pictures: list[Picture], seed: int) -> None:
    found = findings(pictures, seed=seed)
    contents = [p.made.sha256 for p in kept(found)]
    assert len(contents) == len(set(contents))
    for conflict in found.conflicts:
        assert len({p.product_id for p in conflict.pictures}) > 1
        assert not conflict.kept


@examples
@given(many, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_the_pictures_does_not_matter(
    pictures: list[Picture], keep_conflicts: bool, rng: random.Random
) -> None:
    shuffled = list(pictures)
    rng.shuffle(shuffled)
    assert findings(shuffled, keep_conflicts=keep_conflicts) == findings(pictures, keep_conflicts=keep_conflicts)


@examples
@given(many)
def test_duplicates_name_a_picture_that_is_kept_and_repeats_them(pictures: list[Picture]) -> None:
    found = findings(pictures)
    there = {p.source for p in kept(found)}
    for duplicate in found.duplicates:
        assert duplicate.kept.source in there
        if not duplicate.leak:
            assert duplicate.kept.product_id == duplicate.picture.product_id
        if duplicate.kind == "same-file":
            assert duplicate.kept.source_sha256 == duplicate.picture.source_sha256
        elif duplicate.kind == "same-pixels":
            assert duplicate.kept.made.sha256 == duplicate.picture.made.sha256


@examples
@given(many)
def test_suspects_are_the_near_pairs_of_two_products(pictures: list[Picture]) -> None:
    likeness = Likeness(pictures, 6)
    expected = {
        (i, j)
        for (i, one), (j, other) in itertools.combinations(enumerate(likeness.distinct), 2)
        if one.product_id != other.product_id and one.made.sha256 != other.made.sha256 and near(one, other)
    }
    assert {(i, j) for i, j, _ in likeness.suspects()} == expected


def test_the_best_is_kept() -> None:
    small = record("p", "a.jpg", hashed=0b1001, size=(50, 50))
    large = record("p", "b.jpg", hashed=0b1011, size=(500, 500))
    copy = record("p", "c.jpg", content="p/b.jpg", hashed=0b1011, size=(500, 500))
    found = findings([small, large, copy])
    assert found.groups == ((large,),)
    assert [(d.picture, d.kept, d.kind, d.bits) for d in found.duplicates] == [
        (small, large, "near", 1),
        (copy, large, "same-file", 0),
    ]


def test_what_lies_between_two_others_connects_them() -> None:
    a, b, c = (record("p", f"{n}.jpg", hashed=h) for n, h in zip("abc", (0b1, 0b111111, 0b11111111111), strict=True))
    found = findings([a, b, c])
    assert found.groups == ((a, c),)
    assert [d.picture for d in found.duplicates] == [b]


def test_pictures_without_structure_are_only_the_same_when_equal() -> None:
    white, gray = record("p", "white.jpg", hashed=0), record("p", "gray.jpg", hashed=0)
    again = record("p", "again.jpg", content="p/white.jpg", made="p/white.jpg", hashed=0)
    found = findings([white, gray, again])
    assert sorted(map(len, found.groups)) == [1, 1]
    assert [d.kind for d in found.duplicates] == ["same-file"]


def test_equal_files_under_two_products_need_no_look() -> None:
    one, other = record("p", "a.jpg", content="x"), record("q", "b.jpg", content="x")
    third = record("r", "c.jpg")
    likeness = Likeness([one, other, third], 6)
    assert likeness.suspects() == []
    found = likeness.findings([], keep_conflicts=False)
    assert [(c.pictures, c.kind, c.bits) for c in found.conflicts] == [((one, other), "same-file", 0)]
    assert found.groups == ((third,),)
    both = likeness.findings([], keep_conflicts=True)
    assert sorted(both.groups, key=len)[-1] == (one, other)


def test_a_look_decides_between_copies_and_look_alikes() -> None:
    one, other = record("p", "a.jpg", hashed=0b11), record("q", "b.jpg", hashed=0b1)
    likeness = Likeness([one, other], 6)
    assert likeness.suspects() == [(0, 1, 1)]
    copies = likeness.findings([True], keep_conflicts=False)
    assert copies.groups == ()
    assert [(c.kind, c.bits) for c in copies.conflicts] == [("near", 1)]
    alike = likeness.findings([False], keep_conflicts=False)
    assert alike.groups == ((one,), (other,))
    assert [(a.one, a.other, a.bits) for a in alike.look_alikes] == [(one, other, 1)]


def test_in_a_divided_source_the_held_out_picture_is_kept() -> None:
    train = record("p", "a.jpg", hashed=0b11, size=(900, 900), split="train")
    test = record("p", "b.jpg", hashed=0b1, split="test")
    val = record("p", "c.jpg", content="p/b.jpg", hashed=0b1, split="val")
    found = findings([train, test, val])
    assert found.groups == ((test,),)
    assert {d.picture.source: d.leak for d in found.duplicates} == {"p/a.jpg": True, "p/c.jpg": True}


@pytest.mark.parametrize("bits", [0, 3])
def test_how_near_is_near_can_be_said(bits: int) -> None:
    pictures = [record("p", "a.jpg", hashed=0b1), record("p", "b.jpg", hashed=0b1111)]
    assert len(kept(findings(pictures, bits=bits))) == (2 if bits < 3 else 1)
    assert len(kept(findings(pictures, bits=bits + 3))) == 1


def test_thousands_of_equal_and_near_pictures_are_no_trouble() -> None:
    rng = random.Random(0)
    frames = [record("p", f"{n}.jpg", hashed=0xABCD0001 ^ (1 << rng.randrange(1, 40))) for n in range(2000)]
    copies = [record(f"q{n % 50}", f"{n}.jpg", content="the placeholder") for n in range(2000)]
    found = findings([*frames, *copies])
    assert len(kept(found)) == 1
    assert len(found.conflicts) == 1
    assert len(found.conflicts[0].pictures) == 2000
