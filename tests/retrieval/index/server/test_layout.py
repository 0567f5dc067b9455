"""Layouts by expected size, overrides, estimates; which worker takes which picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import UsageError
from retrieval.index.server.layout import Layout
from retrieval.index.sharding import Shard
from retrieval.types import image_id


def test_the_table() -> None:
    small = Layout.choose(50_000, 128)
    assert (small.shards, small.replicas, small.write_consistency) == (1, 1, 1)
    assert [small.on_disk, small.quantized, small.graph_on_disk, small.bulk] == [False] * 4
    middle = Layout.choose(900_000, 128)
    assert (middle.bulk, middle.on_disk) == (True, False)
    large = Layout.choose(5_000_000, 128)
    assert (large.on_disk, large.quantized, large.graph_on_disk) == (True, True, False)
    huge = Layout.choose(100_000_000, 128, nodes=3)
    assert (huge.shards, huge.replicas, huge.write_consistency, huge.graph_on_disk) == (6, 3, 2, True)


def test_what_is_given_by_hand_wins_and_nonsense_is_refused() -> None:
    layout = Layout.choose(5_000_000, 128, 3, {"shards": 12, "quantized": False, "replicas": 3, "on_disk": None})
    assert (layout.shards, layout.quantized, layout.replicas, layout.write_consistency) == (12, False, 3, 2)
    assert layout.on_disk
    with pytest.raises(UsageError, match="replicas"):
        Layout.choose(1, 128, 1, {"replicas": 2})
    with pytest.raises(UsageError, match="consistency"):
        Layout.choose(1, 128, 3, {"write_consistency": 4})


@pytest.mark.parametrize(
    ("nodes", "given", "reads", "writes"),
    [
        (1, {}, 0, 0),
        (2, {}, 1, 0),
        (3, {}, 2, 1),
        (6, {}, 2, 1),
        (3, {"replicas": 2}, 1, 0),
        (3, {"replicas": 2, "write_consistency": 1}, 1, 1),
        (2, {"write_consistency": 1}, 1, 0),  # an index run notes who writes, on which the cluster agrees by majority
        (3, {"write_consistency": 3}, 2, 0),
        (5, {"replicas": 5}, 4, 2),
    ],
)
def test_what_lost_nodes_mean(nodes: int, given: dict[str, int | bool | None], reads: int, writes: int) -> None:
    layout = Layout.choose(1000, 128, nodes, given)
    assert (layout.reads_survive, layout.writes_survive) == (reads, writes)
    assert layout.to_json()["writes_survive_lost_nodes"] == writes


def test_estimates_are_the_arithmetic_of_the_documented_sizes() -> None:
    layout = Layout.choose(900_000, 128)
    assert layout.memory == 900_000 * (4 * 128 + 160 + 120)
    assert layout.disk == 900_000 * (4 * 128 + 160 + 700) * 1.5
    three = Layout.choose(6_000_000, 128, 3)
    assert three.memory == round(6_000_000 * 3 / 3 * (128 + 160 + 120))


@given(st.integers(1, 10**9), st.sampled_from([64, 128, 768]), st.integers(1, 50))
def test_more_pictures_never_take_less_disk_and_every_layout_can_be_made(
    images: int, dimension: int, nodes: int
) -> None:
    layout = Layout.choose(images, dimension, nodes)
    assert layout.shards % nodes == 0
    assert 1 <= layout.write_consistency <= layout.replicas <= nodes
    assert layout.disk <= Layout.choose(2 * images, dimension, nodes).disk
    assert layout.to_json()["memory_bytes_a_node"] == layout.memory


def test_every_picture_belongs_to_one_worker_and_parts_are_about_equal() -> None:
    ids = [image_id(f"p{i // 7}", f"{i}.jpg") for i in range(4000)]
    for count in (1, 2, 3, 8, 16):
        parts = [[i for i in ids if Shard(n, count).takes(i)] for n in range(1, count + 1)]
        assert sorted(i for part in parts for i in part) == sorted(ids)
        assert min(map(len, parts)) > 0.75 * len(ids) / count


def test_how_shards_are_written() -> None:
    assert Shard.parse("3/8") == Shard(3, 8)
    assert str(Shard.parse(" 1/1 ")) == "1/1"
    for text in ("0/8", "9/8", "3", "3/", "a/b", "-1/8", "1/0", "3/8/2", "1/99999"):
        with pytest.raises(UsageError, match="--shard"):
            Shard.parse(text)
