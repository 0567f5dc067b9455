"""The commands as a user types them, on the embedded index, with an encoder that needs no network."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import options
from cli.main import invoke
from cli.query_text import explain_filters
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.recognition.api import Recognizer
from retrieval.types import IndexedImage, Point, image_id
from tests.fakes import DIMENSION, PixelEncoder, fake_bundle, picture, use_pixel_encoder, write_catalog


@pytest.fixture(autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ITEMREC_INDEX", raising=False)
    monkeypatch.delenv("ITEMREC_MODEL", raising=False)
    options._config.cache_clear()
    use_pixel_encoder(monkeypatch)
    write_catalog(tmp_path / "catalog", products=6, views=3)
    fake_bundle(tmp_path / "bundle")
    picture(2, view=9).save(tmp_path / "known.png")
    picture(40).save(tmp_path / "stranger.png")


Run = Callable[..., Any]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json and return its exit code and document."""

    def go(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = invoke([*words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return go


def test_index_then_query(run: Run) -> None:
    code, report = run("index", "catalog", "--model", "bundle")
    assert code == 0
    assert report["schema"] == "itemrec.index/1"
    assert {k: report[k] for k in ("added", "updated", "unchanged", "removed", "images", "products")} == {
        "added": 18,
        "updated": 0,
        "unchanged": 0,
        "removed": 0,
        "images": 18,
        "products": 6,
    }
    code, answer = run("query", "known.png", "--top", "3")
    assert code == 0
    assert answer["schema"] == "itemrec.query/1"
    assert answer["fingerprint"] == report["fingerprint"]
    (result,) = answer["results"]
    assert result["source"] == "known.png"
    assert result["verdict"] == "match"
    best = result["matches"][0]
    assert best["product_id"] == "p002"
    assert best["votes"] == 3
    assert best["metadata"] == {"name": "Product 2", "category": "Juice", "price": "2.50"}
    assert {e["image"] for e in best["evidence"]} == {f"p002/{n}.png" for n in range(3)}
    assert set(result["timings_ms"]) == {"decode", "embed", "search"}


def test_a_stranger_is_unknown_and_exits_one(run: Run) -> None:
    run("index", "catalog", "--model", "bundle")
    code, answer = run("query", "stranger.png")
    assert code == 1
    assert answer["results"][0]["verdict"] == "unknown"
    assert answer["results"][0]["matches"] == []
    code, answer = run("query", "known.png", "stranger.png")
    assert code == 1
    assert [r["verdict"] for r in answer["results"]] == ["match", "unknown"]


def test_a_picture_under_two_products_is_ambiguous(run: Run) -> None:
    shutil.copytree("catalog/p002", "catalog/p002-twin")
    run("index", "catalog", "--model", "bundle")
    code, answer = run("query", "known.png", "--top", "1")
    assert code == 0
    assert answer["results"][0]["verdict"] == "ambiguous"
    assert len(answer["results"][0]["matches"]) == 1


def test_where_filters_and_unknown_columns_are_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run("index", "catalog", "--model", "bundle")
    code, answer = run("query", "known.png", "--where", "category=Milk", "--threshold", "4")
    assert code == 0
    assert {m["metadata"]["category"] for m in answer["results"][0]["matches"]} == {"Milk"}
    code, error = run("query", "known.png", "--where", "colour=red")
    assert (code, error["error"]) == (2, "UsageError")
    assert "category" in error["hint"]
    assert invoke(["query", "known.png", "--where", "category=Mlik"]) == 1
    assert "Juice" in capsys.readouterr().err


def test_a_rare_filter_value_is_not_called_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = fake_bundle(tmp_path / "model")
    unit = np.eye(1, DIMENSION, dtype=np.float32)[0]
    with EmbeddedIndex(tmp_path / "many").writer(bundle.identity) as build:
        build.store.upsert(
            [
                Point(IndexedImage(image_id(f"p{n}", "x"), f"p{n}", "x", "0" * 64, {"name": f"N{n:04}"}), unit)
                for n in range(1500)
            ]
        )
        build.commit(catalog="-", metadata_keys=["name"])
    with Recognizer(tmp_path / "many", model=bundle.path) as shop:
        explain_filters(shop, ["name=N1499"])
        assert capsys.readouterr().err == ""
        explain_filters(shop, ["name=N1500"])
    assert "no indexed product has name=N1500" in capsys.readouterr().err


def test_folders_and_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("index", "catalog", "--model", "bundle")
    code, answer = run("query", "catalog/p001", "catalog/p003")
    assert code == 0
    assert [r["matches"][0]["product_id"] for r in answer["results"]] == ["p001"] * 3 + ["p003"] * 3
    data = io.BytesIO(Path("known.png").read_bytes())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(data))
    code, answer = run("query", "-")
    assert code == 0
    assert answer["results"][0]["source"] == "-"


def test_a_folder_that_cannot_be_read_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("index", "catalog", "--model", "bundle")
    Path("catalog/.hidden").mkdir()
    shutil.copy("known.png", "catalog/.hidden/seen-by-nobody.png")
    real = os.scandir

    def scandir(path: os.PathLike[str] | str = ".") -> object:
        if str(path).endswith("p001"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    code, answer = run("query", "catalog")
    assert (code, len(answer["results"])) == (2, 15)
    assert [(r["path"], r["code"]) for r in answer["refused"]] == [("catalog/p001", "unreadable")]
    code, error = run("query", "catalog/p001")
    assert (code, error["error"]) == (2, "ImageError")
    assert "Permission denied" in error["message"]


def test_broken_photos_among_good_ones(run: Run) -> None:
    run("index", "catalog", "--model", "bundle")
    Path("broken.jpg").write_bytes(b"\xff\xd8\xff")
    code, answer = run("query", "known.png", "broken.jpg", "missing.jpg")
    assert code == 2
    assert len(answer["results"]) == 1
    assert {r["path"]: r["code"] for r in answer["refused"]}["missing.jpg"] == "missing"
    code, error = run("query", "broken.jpg")
    assert (code, error["schema"], error["error"]) == (2, "itemrec.error/1", "ImageError")


def test_second_run_is_idempotent_and_dry_run_writes_nothing(run: Run) -> None:
    code, plan = run("index", "catalog", "--model", "bundle", "--dry-run")
    assert (code, plan["added"], plan["dry_run"]) == (0, 18, True)
    assert not Path(".itemrec").exists()
    run("index", "catalog", "--model", "bundle")
    PixelEncoder.calls = 0
    code, again = run("index", "catalog")
    assert (code, again["unchanged"], again["added"]) == (0, 18, 0)
    assert PixelEncoder.calls == 0


def test_another_model_is_refused_with_the_command_that_rebuilds(run: Run, tmp_path: Path) -> None:
    run("index", "catalog", "--model", "bundle")
    fake_bundle(tmp_path / "other", name="other", encoder=b"other")
    for words in (["index", "catalog", "--model", "other"], ["query", "known.png", "--model", "other"]):
        code, error = run(*words)
        assert (code, error["error"]) == (2, "ModelMismatchError")
        assert "pixels" in error["message"]
        assert "--rebuild" in error["hint"]
    code, report = run("index", "catalog", "--model", "other", "--rebuild")
    assert (code, report["added"]) == (0, 18)
    assert run("query", "known.png")[0] == 0


def test_an_uncalibrated_model_needs_a_threshold(run: Run, tmp_path: Path) -> None:
    from retrieval.models.bundle import write_bundle

    write_bundle(
        tmp_path / "plain",
        name="plain",
        encoder=b"plain",
        runtime="litert",
        preprocessing=PixelEncoder().preprocessing,
        dimension=48,
    )
    run("index", "catalog", "--model", "plain")
    code, error = run("query", "known.png")
    assert (code, error["error"]) == (2, "UsageError")
    assert "--threshold" in error["hint"]
    assert run("query", "known.png", "--threshold", "0.05")[0] == 0


def test_text_output_is_for_people(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["index", "catalog", "--model", "bundle"]) == 0
    streams = capsys.readouterr()
    assert "18 added" in streams.out
    assert "18 images of 6 products" in streams.out
    assert invoke(["query", "known.png", "stranger.png"]) == 1
    streams = capsys.readouterr()
    assert "known.png: match" in streams.out
    assert "p002" in streams.out
    known, _, unknown = streams.out.partition("stranger.png: unknown")
    first, heading, answer = known.splitlines()[:3]
    assert "not calibrated" in first
    assert heading.split() == ["product", "name", "price"]
    assert answer.split() == ["p002", "Product", "2", "2.50"]
    assert "nearest, not near enough:" in unknown
    assert "p00" in unknown
    assert "calibrated" not in unknown
    assert "1 match, 0 ambiguous, 1 unknown" in streams.err


def test_a_catalog_without_names_has_no_column_for_them(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("catalog/products.csv").unlink()
    run("index", "catalog", "--model", "bundle")
    assert invoke(["query", "known.png"]) == 0
    (heading,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("product")]
    assert heading == ["product"]
    assert invoke(["query", "known.png", "--explain"]) == 0
    (heading,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("product")]
    assert heading == ["product", "score", "share", "votes", "distance", "evidence"]


def test_query_before_index_says_what_to_do(run: Run) -> None:
    code, error = run("query", "known.png")
    assert (code, error["error"]) == (2, "IndexNotFoundError")
    assert "itemrec index" in error["hint"]


def test_doctor_healthy_then_damaged(run: Run) -> None:
    run("index", "catalog", "--model", "bundle")
    code, report = run("doctor", "--full")
    assert (code, report["healthy"]) == (0, True)
    by_name = {c["name"]: c for c in report["checks"]}
    assert by_name["self-retrieval"]["facts"] == {"tried": 18, "lost": 0}
    assert by_name["index"]["facts"]["images"] == 18
    (manifest,) = Path(".itemrec").rglob("manifest.json")
    manifest.write_text(manifest.read_text().replace('"images": 18', '"images": 17'))
    code, report = run("doctor")
    assert (code, report["healthy"]) == (1, False)
    code, _ = run("query", "known.png")
    assert code == 3
    code, report = run("index", "catalog", "--rebuild", "--model", "bundle")
    assert (code, report["images"]) == (0, 18)
    assert run("doctor")[0] == 0


def test_doctor_without_an_index(run: Run) -> None:
    code, report = run("doctor", "--model", "bundle")
    assert code == 0
    assert any(c["name"] == "index" and "There is no index" in c["detail"] for c in report["checks"])


def test_refused_files_are_listed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("catalog/p000/bad \n name.jpg").write_bytes(b"no picture")
    code, report = run("index", "catalog", "--model", "bundle")
    assert code == 0
    assert [r["path"] for r in report["refused"]] == ["p000/bad \\n name.jpg"]
    assert report["images"] == 18
    invoke(["index", "catalog", "--model", "bundle"])
    assert "bad \\n name.jpg: " in capsys.readouterr().err


def where(run: Run, *terms: str) -> str:
    """The product that a photo of p002 finds under filters, or why not."""
    code, answer = run(
        "query", "known.png", "--threshold", "4", *(word for term in terms for word in ("--where", term))
    )
    if code == 2:
        return str(answer["message"])
    return next((match["product_id"] for match in answer["results"][0]["matches"]), "none")


def test_filters_have_one_form_and_compare_numbers(run: Run) -> None:
    rows = [
        {"product_id": "p001 ", "cre\u0300me": "Frui\u0301t ", "price": "3.50", "tags": ["new", "b "], "note": ""},
        {"product_id": "p002", "cre\u0300me": "Juice", "price": 12, "note": "x"},
    ]
    Path("catalog/products.csv").unlink()
    Path("catalog/products.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run("index", "catalog", "--model", "bundle")[0] == 0
    assert where(run) == "p002"
    for term in (
        "cr\u00e8me=Fru\u00edt",
        " cre\u0300me = Frui\u0301t ",
        "price=3.5",
        "price<5",
        "price <= 3.50",
        "tags=b",
    ):
        assert where(run, term) == "p001", term
    for term in ("note?", "price>=12", "price>5"):
        assert where(run, term) == "p002", term
    assert where(run, "price>3", "price<12") == "p001"
    assert where(run, "price<3") == where(run, "note?", "tags=new") == "none"
    assert "a number after price<" in where(run, "price<cheap")
    assert "KEY=VALUE" in where(run, "price")
    assert "a metadata column" in where(run, "weight?")


def test_a_catalog_whose_path_is_no_utf8(run: Run) -> None:
    name = os.fsdecode(b"cat\xe9")
    try:
        Path("catalog").rename(name)
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    code, report = run("index", name, "--model", "bundle", "--index", os.fsdecode(b"index\xe9"))
    assert (code, report["images"]) == (0, 18)
    photo = f"{name}/p002/0.png"
    assert Path(photo).is_file(), os.listdir(f"{name}/p002")
    code, answer = run("query", photo, "--index", os.fsdecode(b"index\xe9"))
    assert (code, answer["results"][0]["source"]) == (0, photo)
    assert Path(answer["results"][0]["source"]).is_file()


def test_bad_rows_are_refused_and_the_rest_is_indexed(run: Run) -> None:
    Path("itemrec.toml").write_text('\ufeffindex = "shop"\n', encoding="utf-8")
    Path("catalog/products.csv").write_text("product_id,name\np001,One\n,Nobody\np001,Twice\n")
    code, report = run("index", "catalog", "--model", "bundle")
    assert (code, report["images"]) == (0, 18)
    assert [(r["path"], r["code"]) for r in report["refused"]] == [
        ("products.csv, line 3", "bad-row"),
        ("products.csv, line 4", "bad-row"),
    ]
    assert Path("shop").is_dir()


def test_a_bad_row_costs_no_picture_its_point(run: Run) -> None:
    Path("catalog/products.csv").unlink()
    files = sorted(str(path.relative_to("catalog")) for path in Path("catalog").rglob("*.png"))
    rows = ["product_id,image", *(f"{name.split('/')[0]},{name}" for name in files)]
    Path("catalog/images.csv").write_text("\n".join(rows))
    assert run("index", "catalog", "--model", "bundle")[1]["images"] == 18
    rows[2] = rows[2] + ",x,y"
    Path("catalog/images.csv").write_text("\n".join(rows))
    _, report = run("index", "catalog", "--prune")
    assert (report["images"], report["removed"]) == (18, 0)


def test_a_renamed_folder_is_one_product(run: Run) -> None:
    assert run("index", "catalog", "--model", "bundle")[0] == 0
    Path("catalog/p002").rename("catalog/pear")
    name = min(path.name for path in Path("catalog/pear").glob("*.png"))
    _, plan = run("index", "catalog", "--dry-run")
    assert (plan["removed"], plan["departed"], plan["images"], len(plan["moved"])) == (3, 0, 18, 3)
    _, kept = run("index", "catalog", "--keep-moved")
    assert (kept["images"], kept["removed"], kept["departed"], len(kept["moved"])) == (21, 0, 3, 3)
    _, report = run("index", "catalog")
    assert (report["images"], report["removed"], report["departed"], report["products"]) == (18, 3, 0, 6)
    assert report["moved"][0] == {"from": f"p002/{name}", "to": f"pear/{name}"}
    _, answer = run("query", f"catalog/pear/{name}")
    assert [m["product_id"] for m in answer["results"][0]["matches"]] == ["pear"]
    Path(f"catalog/pear/{name}").unlink()
    _, report = run("index", "catalog")
    assert (report["images"], report["departed"], report["moved"]) == (18, 1, [])


def test_rows_and_folders_that_do_not_meet_are_counted(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("catalog/products.csv").write_text("product_id,name\nP001,One\np002,Two\n")
    _, report = run("index", "catalog", "--model", "bundle")
    assert (report["rows_without_folder"], len(report["folders_without_row"])) == (["P001"], 5)
    assert report["likely_pairs"] == [{"row": "P001", "folder": "p001"}]
    invoke(["index", "catalog"])
    said = capsys.readouterr().err
    assert "1 row without a folder, 5 folders without a row" in said
    assert "row 'P001', folder 'p001'" in said
