"""`itemrec audit` as a user types it: exit codes, one JSON document, a table, a page."""

import json
import re
from pathlib import Path

import pytest

from cli import options
from cli.main import invoke
from tests.audit_catalog import view, write_views
from tests.fakes import fake_bundle, use_pixel_encoder

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


@pytest.fixture(autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ITEMREC_INDEX", raising=False)
    monkeypatch.delenv("ITEMREC_MODEL", raising=False)
    options._config.cache_clear()
    use_pixel_encoder(monkeypatch)
    fake_bundle(tmp_path / "bundle", threshold=0.02)
    write_views(tmp_path / "catalog", products=6, views=6)


def spoil(catalog: Path) -> None:
    (catalog / "p001" / "3.png").rename(catalog / "p005" / "moved.png")
    (catalog / "p000" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (catalog / "p002" / "copy.png").write_bytes((catalog / "p003" / "0.png").read_bytes())


def test_clean_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["audit", "catalog", "--model", "bundle", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert "No errors, no warnings." in out
    assert "36 pictures of 6 products" in out
    assert err == ""


def test_findings_are_1_and_grouped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(tmp_path / "catalog")
    assert invoke(["audit", "catalog", "--model", "bundle"]) == 1
    out = capsys.readouterr().out
    headings = [line for line in out.splitlines() if re.fullmatch(r"[A-Z].*: \d+", line)]
    assert headings[:3] == [
        "Files that cannot be read: 1",
        "The same picture under several products: 1",
        "Pictures that look like another product: 2",
    ]
    assert "p005/moved.png looks like p001" in out


def test_long_lists_are_cut_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        (tmp_path / "catalog" / "p000" / f"empty-{number}.png").write_bytes(b"")
    assert invoke(["audit", "catalog", "--model", "bundle", "--top", "2"]) == 1
    out = capsys.readouterr().out
    assert "Files that cannot be read: 5" in out
    assert "and 3 more" in out
    assert "empty-1.png" in out
    assert "empty-2.png" not in out


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(tmp_path / "catalog")
    assert invoke(["audit", "catalog", "--model", "bundle", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "itemrec.audit/1"
    assert document["clean"] is False
    assert document["counts"]["error"] == 2
    moved = [f for f in document["findings"] if f["kind"] == "mislabeled"]
    assert "p005/moved.png" in {f["pictures"][0]["image"] for f in moved}


def test_min_views_reaches_the_audit(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["audit", "catalog", "--model", "bundle", "--min-views", "7", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["kinds"]["few-views"] == 6


def test_the_index_tells_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_pixel_encoder(monkeypatch)
    assert invoke(["index", "catalog", "--model", "bundle", "--quiet"]) == 0
    capsys.readouterr()
    assert invoke(["audit", "catalog", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "pixels"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["audit"], 2),
        (["audit", "nowhere", "--model", "bundle"], 2),
        (["audit", "catalog", "--model", "nowhere"], 2),
        (["audit", "catalog", "--model", "bundle", "--threshold", "5"], 2),
        (["audit", "catalog", "--model", "bundle", "--min-views", "0"], 2),
        (["audit", "catalog", "--model", "bundle", "--html", "no/such/place.html"], 2),
    ],
)
def test_wrong_usage_is_2_in_one_line(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([*words, "--quiet"]) == code
    err = capsys.readouterr().err
    assert "itemrec: error:" in err
    assert "Traceback" not in err


def test_the_page_is_self_contained_and_escapes(tmp_path: Path) -> None:
    hostile = tmp_path / "catalog" / HOSTILE.replace("/", "\u2215")
    hostile.mkdir()
    view(20, 0).save(hostile / "<u>one.png")
    view(1, 9).save(hostile / "'two'.png")
    (hostile / "<em>.png").write_bytes(b"nothing")
    spoil(tmp_path / "catalog")
    assert invoke(["audit", "catalog", "--model", "bundle", "--quiet", "--html", "audit.html"]) == 1
    html = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in html
    assert not re.search(r"<(script|em>|u>|img src=x)", html)
    assert set(re.findall(r'src="([^"]{5})', html)) == {"data:"}
    assert set(re.findall(r'href="(.)', html)) == {"#"}
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html.replace("&#39;", "'")
    assert html.count("<section") == html.count("</section>") > 3
    assert "p005/moved.png looks like p001" in html


def test_the_page_of_a_clean_catalog(tmp_path: Path) -> None:
    assert invoke(["audit", "catalog", "--model", "bundle", "--quiet", "--html", "audit.html"]) == 0
    assert "No errors and no warnings in this catalog." in (tmp_path / "audit.html").read_text(encoding="utf-8")
