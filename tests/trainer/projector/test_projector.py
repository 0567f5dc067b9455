"""The Embedding Projector's files: what the page needs of them, and that nothing of them is ever half there."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from retrieval.errors import CatalogError, ItemrecError, UsageError
from retrieval.models import embedding
from retrieval.models.bundle import Bundle
from tests.fakes import PixelEncoder, fake_bundle, picture, write_catalog
from tests.progress import Recorder
from trainer.projector import plugin_files as projector_files
from trainer.projector import write as projector
from trainer.projector.plugin_files import columns_of, metadata_tsv
from trainer.projector.write import CONFIG, THUMBNAIL, project_bundle, sample, write_projection


def points(n: int, side: int = 8, d: int = 3) -> dict[str, Any]:
    """n points whose thumbnails are plain in a color of their own."""
    thumbnails = np.zeros((n, side, side, 3), np.uint8)
    thumbnails[..., 0] = (np.arange(n) % 251)[:, None, None]
    thumbnails[..., 1] = (np.arange(n) // 251)[:, None, None]
    return {
        "vectors": np.random.default_rng(0).normal(size=(n, d)).astype(np.float32),
        "labels": [f"p{i % 7}" for i in range(n)],
        "files": [f"p{i % 7}/{i}.jpg" for i in range(n)],
        "thumbnails": thumbnails,
    }


def read(config: Path) -> Any:
    return text_format.Parse(config.read_text(), ProjectorConfig())


def parts(config: Path, name: str = "embeddings") -> tuple[np.ndarray, list[list[str]], Image.Image, int]:
    """Vectors, metadata with its header, sprite and the side of a thumbnail, as the configuration names them."""
    (entry,) = (e for e in read(config).embeddings if e.tensor_name == name)
    vectors = np.loadtxt(config.parent / entry.tensor_path, delimiter="\t", dtype=np.float32, ndmin=2)
    rows = [line.split("\t") for line in (config.parent / entry.metadata_path).read_text("utf-8").split("\n")[:-1]]
    sprite = Image.open(io.BytesIO((config.parent / entry.sprite.image_path).read_bytes()))
    side, other = entry.sprite.single_image_dim
    assert side == other
    return vectors, rows, sprite, side


@pytest.mark.parametrize("n", [1, 2, 4, 5, 9, 12])
def test_every_point_has_its_vector_its_row_and_its_place_in_a_square_sprite(tmp_path: Path, n: int) -> None:
    given = points(n)
    config = write_projection(tmp_path / "run", **given, columns={"price": [i + 0.5 for i in range(n)]})
    assert config == tmp_path / "run" / CONFIG
    vectors, (header, *rows), sprite, side = parts(config)
    np.testing.assert_array_equal(vectors, given["vectors"])  # every bit
    assert header == ["label", "file", "price"]
    assert rows == [[given["labels"][i], given["files"][i], f"{i + 0.5}"] for i in range(n)]
    assert sprite.width == sprite.height == columns_of(n) * side
    columns = columns_of(n)
    for i in range(n):
        assert sprite.getpixel((i % columns * side + 3, i // columns * side + 3)) == (i, 0, 0)


def test_labels_stay_what_they_are(tmp_path: Path) -> None:
    labels = [
        "tab\there",
        "line\nbreak\r",
        "Müsli 🥣",
        "00123",
        "1e5",
        "0x1F",
        " 7 ",
        "12 pack",
        "Infinity",
        "a\u2028b",
    ]
    n = len(labels)
    config = write_projection(tmp_path, **(points(n) | {"labels": labels}))
    _, (_, *rows), _, _ = parts(config)
    assert all(len(row) == 2 for row in rows)
    shown = [row[0] for row in rows]
    assert shown[:3] == ["tab\\there", "line\\nbreak\\r", "Müsli 🥣"]
    # What the page's Number() would take gets an invisible end; the rest has none.
    assert shown[3:7] == ["00123\u2060", "1e5\u2060", "0x1F\u2060", " 7 \u2060"]
    assert shown[7:] == ["12 pack", "Infinity\u2060", "a\\u2028b"]


def test_numbers_stay_numbers() -> None:
    text = metadata_tsv({"a": ["x", "y"], "n": [3, 0.25]}, np.arange(2)).decode()
    assert text == "a\tn\nx\t3\ny\t0.25\n"


def test_too_many_pictures_are_made_smaller_and_then_fewer_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector, "MAX_SPRITE", 240)
    said: list[str] = []
    config = write_projection(tmp_path, **points(36, side=64), progress=Recorder(said))
    _, (_, *rows), sprite, side = parts(config)
    assert (side, sprite.size, len(rows)) == (40, (240, 240), 36)
    assert sprite.getpixel((5 * 40 + 20, 5 * 40 + 20)) == (35, 0, 0)
    assert said == ["The projection's pictures are 40 instead of 64 pixels wide: 36 must fit."]

    said.clear()
    config = write_projection(tmp_path, **points(300, side=64), progress=Recorder(said))
    vectors, (_, *rows), sprite, side = parts(config)
    assert (side, sprite.size, len(rows), len(vectors)) == (24, (240, 240), 100, 100)
    assert said[0] == "The projection shows 100 of 300 pictures, evenly over the products: no more fit."
    # Rows, vectors and pictures are of the same points still.
    given = points(300, side=64)
    for place, (_, file) in enumerate(rows):
        i = given["files"].index(file)
        np.testing.assert_array_equal(vectors[place], given["vectors"][i])
        assert sprite.getpixel((place % 10 * 24 + 12, place // 10 * 24 + 12)) == (i % 251, i // 251, 0)


def test_the_limit_is_the_one_in_the_page() -> None:
    import tensorboard.plugins.projector as plugin

    page = Path(plugin.__file__).parent / "tf_projector_plugin" / "projector_binary.js"
    assert f"={projector_files.MAX_SPRITE}," in page.read_text(encoding="utf-8")
    assert projector.MAX_SPRITE == projector_files.MAX_SPRITE == 8192


def test_sampling_is_even_over_labels_and_deterministic() -> None:
    labels = ["many"] * 90 + ["few"] * 3 + ["one"]
    kept = sample(labels, 10)
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert [sum(labels[i] == name for i in kept) for name in ("many", "few", "one")] == [6, 3, 1]
    assert sample(labels, 10).tolist() == kept.tolist()
    assert sample(labels, 94).tolist() == sample(labels, 1000).tolist() == list(range(94))
    cycle = [f"p{i}" for i in range(5)] * 20
    assert {cycle[i] for i in sample(cycle, 5)} == set(cycle)


def test_a_new_projection_replaces_the_old_one_and_leaves_others_and_strangers_alone(tmp_path: Path) -> None:
    write_projection(tmp_path, **points(4))
    write_projection(tmp_path, **points(6), name="embeddings-val")
    stranger = read(tmp_path / CONFIG)
    stranger.embeddings.add(tensor_name="mine", tensor_path="mine.tsv")
    (tmp_path / CONFIG).write_text(text_format.MessageToString(stranger))
    (tmp_path / "projector" / "notes.txt").write_text("keep")

    config = write_projection(tmp_path, **points(5))
    assert [e.tensor_name for e in read(config).embeddings] == ["embeddings", "embeddings-val", "mine"]
    assert len(parts(config)[0]) == 5
    assert len(parts(config, "embeddings-val")[0]) == 6
    kinds = sorted(p.name.rsplit("-", 1)[0] for p in (tmp_path / "projector").iterdir())
    assert kinds == ["embeddings", "embeddings-val", "notes.txt"]
    assert write_projection(tmp_path, **points(5)) == config  # the same again
    assert len(parts(config)[0]) == 5


@pytest.mark.parametrize("failing", ["write_synced", "replace_file"])
def test_a_failure_leaves_the_old_projection_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    config = write_projection(tmp_path, **points(4))

    def full(file: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(projector, failing, full)
        with pytest.raises(UsageError, match="No space left"):
            write_projection(tmp_path, **points(5))
    assert len(parts(config)[0]) == 4
    write_projection(tmp_path, **points(5))
    assert len(list((tmp_path / "projector").iterdir())) == 1  # what the failure left is gone


def test_a_configuration_that_is_none_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("this is not it {")
    with pytest.raises(UsageError, match=CONFIG):
        write_projection(tmp_path, **points(2))
    assert (tmp_path / CONFIG).read_text() == "this is not it {"


@pytest.mark.parametrize(
    "wrong",
    [
        {"vectors": np.full((3, 2), np.nan, np.float32)},
        {"vectors": np.ones((3, 1), np.float32)},
        {"labels": ["a"]},
        {"thumbnails": np.zeros((3, 8, 9, 3), np.uint8)},
        {"thumbnails": np.zeros((3, 8, 8, 3), np.float32)},
        {"columns": {"price": [1]}},
        {"columns": {"label": [1, 2, 3]}},
        {"name": "a&b"},
        {"name": "../up"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_does_not_belong_together_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        write_projection(tmp_path / "run", **(points(3) | wrong))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(embedding, "load_encoder", lambda bundle, threads: PixelEncoder())
    return fake_bundle(tmp_path / "bundle")


def test_a_folder_and_a_bundle_become_a_projection(tmp_path: Path, bundle: Bundle) -> None:
    catalog = write_catalog(tmp_path / "catalog", products=4, views=3)
    shutil.copytree(catalog / "p000", catalog / "p004")  # a copy under another name: its nearest is wrong
    (catalog / "p005").mkdir()
    picture(40).save(catalog / "p005" / "alone.png")
    (catalog / "p001" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    said: list[str] = []
    told = Recorder(said)
    config = project_bundle(bundle, catalog, tmp_path / "run", progress=told)
    vectors, (header, *rows), sprite, side = parts(config)
    assert vectors.shape == (16, PixelEncoder().dimension)
    assert side == THUMBNAIL
    assert (told.done, told.total) == (list(range(1, 18)), 17)
    assert len(said) == 1
    assert "leaves out 1 files" in said[0]
    assert "p001/broken.png" in said[0]

    table = [dict(zip(header, row, strict=True)) for row in rows]
    by_file = {row["file"]: row for row in table}
    assert by_file["p002/1.png"]["nearest is"] == "right"
    assert by_file["p002/1.png"]["label"] == by_file["p002/1.png"]["nearest"] == "p002"
    assert by_file["p000/1.png"]["nearest is"] == "wrong"
    assert by_file["p000/1.png"]["nearest"] == "p004"
    assert float(by_file["p000/1.png"]["nearest distance"]) < 1e-6
    assert by_file["p005/alone.png"]["nearest is"] == "only view"
    assert by_file["p002/1.png"]["category"] == "Juice"
    assert by_file["p005/alone.png"]["category"] == ""
    verdicts = [row["nearest is"] for row in table]
    assert verdicts == sorted(verdicts, key=["right", "wrong", "only view"].index)

    place = [row["file"] for row in table].index("p003/2.png")
    columns = columns_of(16)
    box = (place % columns * side, place // columns * side)
    shown = sprite.crop((*box, box[0] + side, box[1] + side))
    expected = Image.new("RGB", (side, side), "white")
    expected.paste(picture(3, 2), ((side - 40) // 2, (side - 40) // 2))
    assert shown.tobytes() == expected.tobytes()


def test_large_folders_are_sampled_before_they_are_embedded(tmp_path: Path, bundle: Bundle) -> None:
    catalog = write_catalog(tmp_path / "catalog", products=5, views=4)
    PixelEncoder.calls = 0
    said: list[str] = []
    _, (_, *rows), _, _ = parts(project_bundle(bundle, catalog, tmp_path / "run", most=10, progress=Recorder(said)))
    assert PixelEncoder.calls == 10
    assert sorted(row[0] for row in rows) == sorted([f"p00{i}" for i in range(5)] * 2)
    assert said == ["The projection shows 10 of 20 pictures, evenly over the products."]


def test_one_picture_alone_and_none_at_all(tmp_path: Path, bundle: Bundle) -> None:
    catalog = write_catalog(tmp_path / "catalog", products=1, views=1)
    _, (header, row), _, _ = parts(project_bundle(bundle, catalog, tmp_path / "run"))
    assert dict(zip(header, row, strict=True))["nearest is"] == "only view"
    (catalog / "p000" / "0.png").write_bytes(b"")
    with pytest.raises(CatalogError, match=r"first of 1 refused files: p000/0\.png"):
        project_bundle(bundle, catalog, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_tall_and_wide_pictures_keep_their_shape(tmp_path: Path, bundle: Bundle) -> None:
    folder = tmp_path / "catalog" / "tall"
    folder.mkdir(parents=True)
    Image.new("RGB", (60, 120), (200, 0, 0)).save(folder / "a.png")
    Image.new("RGB", (120, 30), (0, 0, 200)).save(folder / "b.png")
    _, _, sprite, side = parts(project_bundle(bundle, tmp_path / "catalog", tmp_path / "run"))
    pixels = np.asarray(sprite)
    tall, wide = pixels[:side, :side], pixels[:side, side : 2 * side]
    white = (255, 255, 255)
    assert tuple(tall[32, 8]) == white
    assert tuple(tall[4, 32]) == (200, 0, 0)
    assert tuple(wide[8, 32]) == white
    assert tuple(wide[32, 4]) == (0, 0, 200)


def test_without_tensorboard_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.projector.projector_config_pb2", None)
    with pytest.raises(ItemrecError) as caught:
        write_projection(tmp_path, **points(2))
    assert caught.value.message.startswith("TensorBoard is not installed; ")
    assert "[train]" in caught.value.hint
