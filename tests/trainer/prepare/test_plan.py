"""Names of files, tables, and what a plan says of products."""

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.prepare.samples import record
from trainer.prepare.plan import file_names, make_plan
from trainer.prepare.types import Findings, Options, Picture

part = st.text("aA é.-_1\U0001f600", min_size=1, max_size=6).map(lambda t: t.strip("./ ") or "x")
paths = st.lists(
    st.tuples(st.lists(part, min_size=1, max_size=3).map("/".join), st.sampled_from([".jpg", ".PNG", ".jpeg", ""])).map(
        "".join
    ),
    min_size=1,
    max_size=12,
    unique=True,
)


def plan_of(pictures: list[Picture], **options: object):  # type: ignore[no-untyped-def]
    findings = Findings(tuple((p,) for p in pictures), (), (), ())
    return make_plan(findings, Options(**options), {"p": {"name": "Päron", "price": 2}, "gone": {"name": "x"}})  # type: ignore[arg-type]


@given(paths)
def test_names_never_meet_even_where_case_does_not_count(names: list[str]) -> None:
    pictures = [record("p", name) for name in names]
    given_names = file_names(pictures)
    assert len({name.casefold() for name in given_names.values()}) == len(names)
    for name in given_names.values():
        assert name.endswith(".jpg")
        assert "/" not in name
        assert not name.startswith(".")
    shuffled = random.Random(0).sample(pictures, len(pictures))
    assert file_names(shuffled) == given_names


def test_names_stay_what_they_were_where_they_can() -> None:
    names = ["IMG 1 \U0001f600.HEIC", "front/1.png", "a.b.jpg", "a.jpg", "A.png", "x.jpg"]
    given_names = {
        source.split("/", 1)[1]: name for (_, source), name in file_names(record("p", n) for n in names).items()
    }
    assert given_names["IMG 1 \U0001f600.HEIC"] == "IMG 1 \U0001f600.jpg"
    assert given_names["front/1.png"] == "front_1.jpg"
    assert given_names["a.b.jpg"] == "a.b.jpg"
    assert given_names["x.jpg"] == "x.jpg"
    assert given_names["a.jpg"].startswith("a-")
    assert given_names["A.png"].startswith("A-")


def test_long_and_hidden_names_fit_every_disk() -> None:
    names = ["ü" * 120 + f"/{n}" * 40 + ".jpg" for n in range(3)] + [".hidden.jpg", "...jpg"]
    found = list(file_names(record("p", n) for n in names).values())
    assert all(len(name.encode()) <= 255 for name in found)
    assert not any(name.startswith(".") for name in found)
    assert len(set(found)) == len(names)


def test_names_of_two_products_do_not_matter_to_each_other() -> None:
    assert set(file_names([record("p", "1.jpg"), record("q", "1.jpg")]).values()) == {"1.jpg"}


def test_tables_carry_the_metadata_of_the_products_that_are_there() -> None:
    plan = plan_of([record("p", f"{n}.jpg") for n in range(20)] + [record("q", "1.jpg")])
    assert sorted(plan.tables) == ["test/products.jsonl", "train/products.jsonl", "val/products.jsonl"]
    for content in plan.tables.values():
        assert [json.loads(line) for line in content.splitlines()] == [{"product_id": "p", "name": "Päron", "price": 2}]


def test_products_with_too_few_views_are_named() -> None:
    pictures = [record(f"p{n}", f"{k}.jpg") for n in range(1, 6) for k in range(n)]
    plan = plan_of(pictures)
    assert plan.few_views == {"p1": 1, "p2": 2, "p3": 3}
    assert plan.single == ("p1",)
    assert plan_of(pictures, min_views=2).few_views == {"p1": 1}
    assert plan_of(pictures, by="product").single == ()
