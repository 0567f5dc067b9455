"""TensorBoard itself reads what a training writes, and its page shows the pictures in space."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from tests.browser.board import tensorboard
from tests.browser.chromium import needs_chromium, screenshot
from trainer.loop.logs import ScalarLog
from trainer.progress import EpochLog
from trainer.projector.write import write_projection

# Colors that neither TensorBoard's pages nor the axes have, one a product.
COLORS = {"Müsli\t500 g": (255, 0, 255), "00123": (0, 255, 255), "12\npack": (160, 255, 0)}
EACH = 10  # 30 pictures: a sprite of 6 x 5 would be enough, and would be shown wrong
SIDE = 32


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(3, 16), EACH, axis=0) + rng.normal(scale=0.05, size=(3 * EACH, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def address(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """TensorBoard on a run directory: a training that was killed in epoch 4 and resumed, with a projection."""
    run = tmp_path_factory.mktemp("logs")
    with ScalarLog(run) as log:
        for number in range(1, 5):
            log.epoch(epoch(number, 1.0 / number))
    with ScalarLog(run, after=2) as log:
        for number in range(3, 6):
            log.epoch(epoch(number, 2.0 / number))
    labels = [label for label in COLORS for _ in range(EACH)]
    thumbnails = np.repeat(np.array(list(COLORS.values()), np.uint8), EACH, axis=0)[:, None, None, :]
    write_projection(
        run,
        vectors,
        labels,
        [f"{i}.jpg" for i in range(3 * EACH)],
        np.broadcast_to(thumbnails, (3 * EACH, SIDE, SIDE, 3)).copy(),
        columns={"price": [i / 2 for i in range(3 * EACH)]},
    )
    with tensorboard(run) as given:
        yield given


def epoch(number: int, loss: float) -> EpochLog:
    return EpochLog(number, loss, 0.25, 1.5, 0.75, 1.0, val_at_far=0.5)


def get(address: str, path: str, **query: str) -> bytes:
    with urlopen(f"{address}/data/plugin/{path}?{urlencode(query)}", timeout=60) as answer:
        content: bytes = answer.read()
        return content


def plugin(address: str, what: str) -> bytes:
    return get(address, f"projector/{what}", run=".", name="embeddings", num_rows="100000")


def test_the_plugin_serves_the_projection(address: str, vectors: np.ndarray) -> None:
    assert json.loads(get(address, "projector/runs")) == ["."]
    (entry,) = json.loads(get(address, "projector/info", run="."))["embeddings"]
    assert entry["tensorName"] == "embeddings"
    assert entry["tensorShape"] == list(vectors.shape)
    assert entry["sprite"]["singleImageDim"] == [SIDE, SIDE]

    tensor = np.frombuffer(plugin(address, "tensor"), np.float32).reshape(vectors.shape)
    np.testing.assert_array_equal(tensor, vectors)

    header, *rows = plugin(address, "metadata").decode().splitlines()
    assert header.split("\t") == ["label", "file", "price"]
    assert [row.split("\t") for row in rows[::EACH]] == [
        ["Müsli\\t500 g", "0.jpg", "0"],
        ["00123\u2060", "10.jpg", "5"],
        ["12\\npack", "20.jpg", "10"],
    ]

    sprite = Image.open(io.BytesIO(plugin(address, "sprite_image")))
    assert sprite.size == (6 * SIDE, 6 * SIDE)
    colors = [sprite.convert("RGB").getpixel((i % 6 * SIDE + 5, i // 6 * SIDE + 5)) for i in range(3 * EACH)]
    assert colors == [color for color in COLORS.values() for _ in range(EACH)]


def test_a_resumed_training_is_one_curve(address: str) -> None:
    expected = [[1, 1.0], [2, 0.5], [3, 2 / 3], [4, 0.5], [5, 0.4]]
    until = time.monotonic() + 120
    points: list[Any] = []
    while time.monotonic() < until and len(points) < 5:
        try:
            points = json.loads(get(address, "scalars/scalars", run=".", tag="training/loss"))
        except OSError:  # not read yet
            time.sleep(0.5)
    assert [point[1] for point in points] == [1, 2, 3, 4, 5]
    assert [point[2] for point in points] == pytest.approx([loss for _, loss in expected])


@needs_chromium
@pytest.mark.timeout(1200)
def test_the_page_shows_the_pictures_in_space(address: str) -> None:
    seen: list[dict[str, int]] = []
    for seconds in (8, 30, 60, 120):  # of its time each frame is drawn, by the CPU
        # Wide, since the space turns while the page loads and its corners must stay in sight.
        page = screenshot(f"{address}/#projector", size=(1900, 900), seconds=seconds)
        pixels = np.asarray(page).astype(int)
        places = {k: np.argwhere(np.abs(pixels - color).max(axis=2) <= 24) for k, color in COLORS.items()}
        seen.append({label: len(place) for label, place in places.items()})
        # Ten pictures of 10 to 30 pixels, which overlap; from some sides one product stands behind another.
        if min(seen[-1].values()) >= 200 and min(distances(list(places.values()))) > 60:
            return
    pytest.fail(f"expected three products in three places from some side, received pixels of each: {seen}")


def distances(places: list[np.ndarray]) -> np.ndarray:
    """Between the centers of three places, pixels, shape (3,)."""
    centers = np.stack([place.mean(axis=0) for place in places])
    apart: np.ndarray = np.linalg.norm(centers[:, None] - centers[None], axis=2)[np.triu_indices(3, 1)]
    return apart
