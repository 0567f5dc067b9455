"""What an evaluation brings together from a folder: every readable photo, once, with its embedding and its hashes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval.catalog import read as module
from retrieval.errors import CatalogError
from retrieval.evaluation import gather_folder
from retrieval.models.bundle import Bundle
from tests.audit_catalog import view
from tests.fakes import PixelEncoder, fake_bundle, use_pixel_encoder
from tests.progress import Recorder

PRODUCTS, VIEWS = 3, 30  # more than one chunk of photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for product in range(PRODUCTS):
        (root / f"p{product}").mkdir(parents=True)
        for number in range(VIEWS):
            view(product, number).save(root / f"p{product}" / f"{number:02}.png")
    return root


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    use_pixel_encoder(monkeypatch)
    return fake_bundle(tmp_path / "bundle")


def test_embeddings_that_are_known_are_taken_and_only_the_rest_is_computed(
    folder: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gather_folder(folder, bundle)
    known = {content: -vector for content, vector in zip(whole.content_hashes[::2], whole.vectors[::2], strict=True)}
    read, asked = module.read_file, PixelEncoder.calls
    files: list[Path] = []

    def counted(path: Path, **options: Path) -> bytes:
        files.append(path)
        return read(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "read_file", counted)
    progress = Recorder()
    found = gather_folder(folder, bundle, known=known, progress=progress, stage="Embedding test")
    assert PixelEncoder.calls - asked == PRODUCTS * VIEWS // 2
    assert len(files) == len(set(files)) == PRODUCTS * VIEWS  # each is read once, known or not
    assert found.sources == whole.sources
    assert found.content_hashes == whole.content_hashes
    np.testing.assert_array_equal(found.picture_hashes, whole.picture_hashes)
    np.testing.assert_array_equal(found.vectors[::2], -whole.vectors[::2])
    np.testing.assert_array_equal(found.vectors[1::2], whole.vectors[1::2])
    assert progress.stages == [("Embedding test", PRODUCTS * VIEWS, "images")]
    assert progress.done == list(range(1, PRODUCTS * VIEWS + 1))


def test_unreadable_photos_are_named_whether_others_are_known_or_not(folder: Path, bundle: Bundle) -> None:
    (folder / "p1" / "07.png").write_bytes(b"no picture")
    whole = gather_folder(folder, bundle)
    known = dict(zip(whole.content_hashes, whole.vectors, strict=True))
    again = gather_folder(folder, bundle, known=known)
    for found in (whole, again):
        assert len(found) == PRODUCTS * VIEWS - 1
        assert [refusal.path for refusal in found.refused] == ["p1/07.png"]
    assert again.refused == whole.refused
    np.testing.assert_array_equal(again.vectors, whole.vectors)


def test_a_folder_without_a_readable_photo_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "none" / "p0").mkdir(parents=True)
    (tmp_path / "none" / "p0" / "a.png").write_bytes(b"no picture")
    with pytest.raises(CatalogError, match="at least one readable photo"):
        gather_folder(tmp_path / "none", bundle)
