import pytest

from retrieval.barcodes.gtin import as_printed, in_store, is_code_column, normal, spellings


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("4006381333931", "04006381333931"),
        ("4006381333932", None),  # its check digit is wrong
        ("04006381333931", "04006381333931"),
        ("036000291452", "00036000291452"),  # UPC-A, and the same number as EAN-13
        ("0036000291452", "00036000291452"),
        (36000291452, "00036000291452"),  # a spreadsheet took its zero
        (4006381333931.0, "04006381333931"),
        ("96385074", "00000096385074"),
        ("978-3-16-148410-0", "09783161484100"),
        ("'4006381333931", "04006381333931"),  # a spreadsheet was told that it is text
        ("4006381333931.0", "04006381333931"),
        ("A4006381333931", None),
        ("140063813339312", None),
        ("0000000000000", None),
        (None, None),
        (True, None),
    ],
)
def test_codes_are_compared_as_fourteen_digits(written: object, code: str | None) -> None:
    assert normal(written) == code


def test_every_usual_spelling_of_a_code_is_asked_for() -> None:
    assert spellings("00036000291452") == [
        "00036000291452",
        "0036000291452",
        "036000291452",
        "36000291452",
        36000291452,
    ]
    assert spellings("14006381333938") == ["14006381333938", 14006381333938]
    assert all(normal(spelling) == "00000096385074" for spelling in spellings("00000096385074"))


@pytest.mark.parametrize(
    "written",
    [
        *("978-3-16-148410-0", "978 3 16 148410 0", "979-10-90636-07-1", "4 006381 333931", "4-006381-333931"),
        *("0 36000 29145 2", "9638 5074", "1 40 06381 33393 8", "'4006381333931", "4006381333931.0"),
    ],
)
def test_a_code_is_found_as_people_write_it_down(written: str) -> None:
    code = normal(written)
    assert code is not None
    assert written in as_printed(code)
    assert {normal(spelling) for spelling in as_printed(code)} == {code}


@pytest.mark.parametrize(
    ("column", "is_one"),
    [
        *[(name, True) for name in ("gtin", "ean", "upc", "barcode", "ean13", "gtin_14", "upc_a", "ean_code")],
        *[(name, True) for name in ("variant_barcode", "barcodes", "gtin,_upc,_ean,_or_isbn")],
        *[(name, False) for name in ("european", "upcycled", "code", "mean", "barcode_printer", "eanx")],
    ],
)
def test_columns_of_codes_are_known_by_their_usual_names(column: str, is_one: bool) -> None:
    assert is_code_column(column) is is_one


def test_numbers_that_shops_give_out_are_no_products_of_the_world() -> None:
    assert in_store("02312345678903")
    assert in_store("00212345678904")
    assert in_store("00000020123456")
    assert not in_store("04006381333931")
    assert not in_store("00036000291452")
    assert not in_store("00000096385074")
