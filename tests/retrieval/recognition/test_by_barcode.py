"""A code in the photo decides; what it contradicts is said."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.main import invoke
from retrieval.errors import UsageError
from retrieval.indexing.run import index as index_catalog
from retrieval.recognition.answer import Answer
from retrieval.recognition.api import Recognizer
from tests.fakes import fake_bundle, picture, use_pixel_encoder, write_catalog
from tests.retrieval.barcodes.drawn import photo_of

# Of p000 as it is printed, of p001 as a spreadsheet spoils it, of p002 and p003 both, of p004 with all digits.
CODES = ["4 006381 333931", "36000291452", "96385074", "96385074", "09783161484100", ""]
FOREIGN, OWN_OF_A_SHOP = "5901234123457", "2012345678903"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("coded")
    with pytest.MonkeyPatch.context() as patch:
        use_pixel_encoder(patch)
        catalog = write_catalog(folder / "catalog", products=6, views=2)
        rows = [f"p{n:03},Product {n},{'odd' if n % 2 else 'even'},{code}" for n, code in enumerate(CODES)]
        (catalog / "products.csv").write_text("\n".join(["product_id,name,kind,EAN", *rows]) + "\n")
        index_catalog(catalog, folder / "index", model=fake_bundle(folder / "bundle").path)
        yield folder / "index"


@pytest.fixture(scope="module")
def shop(place: Path) -> Iterator[Recognizer]:
    with Recognizer(place) as shop:
        yield shop


def showing(product: int, *numbers: str, kind: str = "EAN13") -> Image.Image:
    """A photo of a product; its codes are small, so that the picture stays its own."""
    ground = picture(product, side=40).resize((1000, 1000), Image.Resampling.NEAREST)
    return photo_of(*numbers, kind=kind, width=150, size=(1000, 1000), background=ground)


def said(answer: Answer) -> tuple[str, list[str], str]:
    return answer.verdict, [match.product_id for match in answer.matches], answer.by


def test_without_a_code_the_picture_decides(shop: Recognizer) -> None:
    answer = shop.recognize(showing(2))
    assert said(answer) == ("match", ["p002"], "")
    assert not {"by", "codes", "conflict"} & set(answer.to_json())


def test_a_code_names_a_product_that_the_picture_does_not_know(shop: Recognizer) -> None:
    photo = Image.effect_noise((1000, 1000), 50).convert("RGB")
    answer = shop.recognize(photo_of("4006381333931", background=photo))
    assert said(answer) == ("match", ["p000"], "barcode")
    assert answer.conflict is None
    (code,) = answer.to_json()["codes"]
    assert code["products"] == ["p000"]
    assert answer.matches[0].metadata["name"] == "Product 0"


@pytest.mark.parametrize(("number", "product"), [("0036000291452", "p001"), ("9783161484100", "p004")])
def test_a_code_is_found_however_the_table_spells_it(shop: Recognizer, number: str, product: str) -> None:
    assert said(shop.recognize(showing(int(product[1:]), number))) == ("match", [product], "barcode")


def test_a_code_wins_over_the_picture_and_says_so(shop: Recognizer) -> None:
    answer = shop.recognize(showing(3, "4006381333931"))
    assert said(answer) == ("match", ["p000"], "barcode")
    assert answer.to_json()["conflict"] == {"picture": "p003", "gtin": "04006381333931", "wins": "barcode"}
    assert "p003" in [match.product_id for match in answer.nearest]
    assert "the picture alone says p003" in answer.said_of_codes[0]


def test_a_code_that_two_products_share_leaves_it_to_the_picture(shop: Recognizer) -> None:
    assert said(shop.recognize(showing(3, "96385074", kind="EAN8"))) == ("match", ["p003"], "barcode")
    verdict, matches, by = said(shop.recognize(showing(0, "96385074", kind="EAN8")))
    assert (verdict, sorted(matches), by) == ("ambiguous", ["p002", "p003"], "barcode")


def test_codes_of_two_products_are_ambiguous(shop: Recognizer) -> None:
    answer = shop.recognize(showing(0, "4006381333931", "0036000291452"))
    assert said(answer) == ("ambiguous", ["p000", "p001"], "barcode")


def test_a_code_that_is_not_in_the_catalog_says_so_and_contradicts_a_product_with_another(shop: Recognizer) -> None:
    answer = shop.recognize(showing(0, FOREIGN))
    assert said(answer) == ("ambiguous", ["p000"], "")
    assert answer.to_json()["conflict"] == {"picture": "p000", "gtin": f"0{FOREIGN}", "wins": "neither"}
    assert answer.said_of_codes[0] == f"barcode {FOREIGN} is not in the catalog"
    without_code = shop.recognize(showing(5, FOREIGN))
    assert said(without_code) == ("match", ["p005"], "")
    assert without_code.to_json()["codes"][0]["products"] == []
    assert shop.recognize(showing(0, OWN_OF_A_SHOP)).conflict is None


def test_a_code_finds_nothing_outside_the_filter(shop: Recognizer) -> None:
    answer = shop.recognize(showing(3, "4006381333931"), where={"kind": "odd"})
    assert said(answer)[1:] == (["p003"], "")
    assert answer.codes[0].products == ()


def test_several_photos_of_one_item_share_their_codes(shop: Recognizer) -> None:
    answer = shop.recognize_same([showing(0), showing(0, "4006381333931")])
    assert said(answer) == ("match", ["p000"], "barcode")
    assert answer.codes[0].photo == "pixels"


def test_every_form_of_a_photo_has_its_corners_in_its_own_pixels(shop: Recognizer, tmp_path: Path) -> None:
    large = showing(0, "4006381333931").resize((3000, 3000))
    large.save(tmp_path / "large.jpg")
    quads = [shop.recognize(form).codes[0].quad for form in (tmp_path / "large.jpg", large, np.asarray(large))]
    assert np.min(quads[0], axis=0)[1] == pytest.approx(3 * 335, abs=30)
    assert np.allclose(quads, quads[0], atol=12)


def test_it_is_off_without_a_column_without_the_extra_and_when_asked(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.png"
    showing(3, "4006381333931").save(photo)

    def query(*words: str) -> tuple[int, dict]:
        code = invoke(["query", str(photo), "--index", str(place), "--json", *words])
        return code, json.loads(capsys.readouterr().out or "{}")

    code, found = query()
    assert (code, found["results"][0]["by"]) == (0, "barcode")
    code, found = query("--no-barcodes")
    assert (code, found["results"][0]["matches"][0]["product_id"]) == (0, "p003")
    assert "codes" not in found["results"][0]
    monkeypatch.setattr("retrieval.barcodes.scan.installed", lambda: False)
    code, found = query()
    assert (code, found["results"][0]["matches"][0]["product_id"]) == (0, "p003")
    with pytest.raises(UsageError, match="zxing-cpp is not installed; reading barcodes needs it") as refused:
        Recognizer(place, barcodes=True)
    assert "[barcode]" in refused.value.hint


def test_products_that_are_called_by_their_codes_need_no_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_pixel_encoder(monkeypatch)
    catalog, place = write_catalog(tmp_path / "catalog", products=5, views=1), tmp_path / "index"
    names = ["4006381333931", "0036000291452", "96385074", "9783161484100", "apples"]
    for number, name in enumerate(names):
        (catalog / f"p{number:03}").rename(catalog / name)
    (catalog / "products.csv").write_text("product_id,name,ean\n96385074,Drink,5901234123457\napples,Apples,\n")
    bundle = fake_bundle(tmp_path / "bundle").path
    report = index_catalog(catalog, place, model=bundle)
    assert "Products are called by their barcodes: gtin holds them" in report.notes
    with Recognizer(place) as shop:
        assert said(shop.recognize(showing(4, "4006381333931"))) == ("match", ["4006381333931"], "barcode")
        assert said(shop.recognize(showing(4, "5901234123457"))) == ("match", ["96385074"], "barcode")
        assert {r.metadata["gtin"] for r in shop.records() if "gtin" in r.metadata} == {*names[:2], names[3]}
    # Half of them are no longer: then a number that is read is no name.
    (catalog / names[0]).rename(catalog / "pens")
    (catalog / "products.csv").unlink()
    index_catalog(catalog, place, model=bundle, prune=True)
    with Recognizer(place) as shop:
        assert said(shop.recognize(showing(4, names[1])))[2] == ""


def test_it_cannot_be_asked_for_where_no_column_has_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_pixel_encoder(monkeypatch)
    catalog = write_catalog(tmp_path / "catalog", products=2, views=1)
    index_catalog(catalog, tmp_path / "index", model=fake_bundle(tmp_path / "bundle").path)
    with pytest.raises(UsageError, match="a column of barcodes"):
        Recognizer(tmp_path / "index", barcodes=True)
