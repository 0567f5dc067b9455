from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import IndexDamagedError, StoreError
from retrieval.index import payload
from retrieval.types import IndexedImage, image_id

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=400),
)


@settings(max_examples=100)
@given(texts.filter(bool), texts, st.dictionaries(texts, scalars, max_size=6))
def test_a_record_comes_back_with_its_types(product: str, image: str, metadata: dict[str, Any]) -> None:
    record = IndexedImage(image_id(product, image), product, image, "0" * 64, metadata)
    payload.check_record(record)
    back = payload.decode(record.image_id, payload.encode(record))
    assert back == record
    assert repr(dict(back.metadata)) == repr(metadata)


@settings(max_examples=100)
@given(texts, scalars)
def test_a_value_is_found_by_itself(key: str, value: Any) -> None:
    assert payload.tag(key, value) in payload.wanted_tags(key, [value])


@settings(max_examples=100)
@given(texts, scalars)
def test_keywords_are_short_and_begin_with_their_column(key: str, value: Any) -> None:
    text = payload.tag(key, value)
    assert text.startswith(payload.tag_head(key))
    assert len(text.encode()) <= 2 * payload.MAX_TAG_BYTES
    read = payload.read_tag(text)
    assert read is None or read == (key, value)


@settings(max_examples=100)
@given(texts, scalars, texts, scalars)
def test_different_values_have_different_keywords(key: str, value: Any, key2: str, value2: Any) -> None:
    same = key == key2 and value == value2 and isinstance(value, bool) == isinstance(value2, bool)
    assert (payload.tag(key, value) == payload.tag(key2, value2)) == same


@pytest.mark.parametrize(
    ("typed", "matches", "differs"),
    [
        ("3.5", [3.5, "3.5"], [3, "3.50", True]),
        ("3.50", [3.5, "3.50"], ["3.5"]),
        ("5", [5, 5.0, "5"], ["5.0", True, 50]),
        ("+5", [5, "+5"], ["5"]),
        ("1e3", [1000, 1000.0, "1e3"], ["1000"]),
        ("1e999", ["1e999"], []),
        ("-0", [0, -0.0, "-0"], ["0"]),
        ("true", [True, "true"], [1, False, "True"]),
        ("False", [False, "False"], [0, "false"]),
        ("", [None, ""], [0, False, " "]),
        ("nan", ["nan"], []),
        ("1_000", ["1_000"], [1000]),
        ("12345678901234567890", ["12345678901234567890", 12345678901234567890.0], []),
        ("٣", ["٣"], [3]),
    ],
)
def test_what_a_user_types_matches_what_it_spells(typed: str, matches: list[Any], differs: list[Any]) -> None:
    wanted = payload.wanted_tags("k", [typed])
    assert all(payload.tag("k", value) in wanted for value in matches)
    assert not any(payload.tag("k", value) in wanted for value in differs)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**63, -(2**63) - 1, [["a"]], {"a": 1}, b"x", "\udc80", "x" * 70_000]
)
def test_values_that_json_cannot_carry_are_refused(value: Any) -> None:
    with pytest.raises(StoreError, match="expected"):
        payload.check_value("key", value)


def test_bounds_on_names_and_columns() -> None:
    with pytest.raises(StoreError, match="4096"):
        payload.check_record(IndexedImage(image_id("p", "i"), "p", "x" * 5000, "0"))
    with pytest.raises(StoreError, match="256"):
        payload.check_metadata({str(i): i for i in range(300)}, "p")
    with pytest.raises(StoreError, match="column name"):
        payload.check_metadata({"\udc80": 1}, "p")


@pytest.mark.parametrize(
    "stored", [None, {}, {"product_id": "p", "image": "i", "hash": "h", "meta": "{"}, {"product_id": "p"}]
)
def test_a_foreign_payload_is_damage(stored: dict[str, Any] | None) -> None:
    with pytest.raises(IndexDamagedError, match="record of a picture"):
        payload.decode(image_id("p", "i"), stored)
