"""How an index is laid out on a server: the options of `itemrec index`, and what ``--explain`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render

if TYPE_CHECKING:
    from retrieval.index.server.layout import Layout

ExpectOption = Annotated[
    int | None,
    typer.Option("--expect", metavar="N", min=1, help="Number of pictures to lay out for. Default: the catalog's."),
]
NodesOption = Annotated[
    int | None, typer.Option("--nodes", metavar="N", min=1, help="Nodes of the cluster. Default: asked of the server.")
]
ShardsOption = Annotated[int | None, typer.Option("--shards", metavar="N", min=1, help="Shards of the collection.")]
ReplicasOption = Annotated[
    int | None,
    typer.Option("--replicas", metavar="N", min=1, help="Replicas of every shard. Default: three, or one a node."),
]
WriteConsistencyOption = Annotated[
    int | None,
    typer.Option("--write-consistency", metavar="N", min=1, help="Replicas that a write must reach. Default: most."),
]
OnDiskOption = Annotated[
    bool | None, typer.Option("--on-disk/--in-memory", help="Keep vectors on disk (memory-mapped), or in memory.")
]
QuantizedOption = Annotated[
    bool | None,
    typer.Option("--quantized/--no-quantized", help="Search int8 copies in memory first, then rescore."),
]
BulkOption = Annotated[
    bool | None, typer.Option("--bulk/--no-bulk", help="Build the HNSW graph after the upload instead of during it.")
]


def print_layout(layout: Layout, location: str, given: Mapping[str, int | bool | None], *, as_json: bool) -> int:
    """Print the layout of a new collection and what it takes; the exit code.

    Args:
        layout: what was chosen.
        location: where the index would lie.
        given: fields that were given by hand.
    """
    if as_json:
        render.emit_json({"schema": "itemrec.explain/1", "index": location, "layout": layout.to_json()})
        return 0
    render.emit(
        f"{layout.images:,} images of {layout.dimension} dimensions on {layout.nodes} node{'s' * (layout.nodes > 1)}:"
    )
    render.table(("what", "choice", "because"), _rows(layout, given))
    if layout.nodes > 1:
        told = ("One node lost", "Two lost")[: layout.nodes - 1]
        render.emit(" ".join(f"{said}: {_without(layout, lost)}." for lost, said in enumerate(told, 1)))
    render.emit(
        f"Estimated for each node: {layout.memory / 1e9:,.1f} GB of memory, {layout.disk / 1e9:,.1f} GB of disk. "
        "Estimates from the formats' sizes, not measurements."
    )
    return 0


def _rows(layout: Layout, given: Mapping[str, int | bool | None]) -> list[tuple[str, str, str]]:
    share = layout.images // layout.nodes
    several = layout.nodes > 1
    reasons = {
        "shards": "one part a node, two from 10 million pictures a node on" if several else "one node, one part",
        "replicas": "three where there are three nodes, else one a node" if several else "one node",
        "write_consistency": "most of the replicas have what is acknowledged" if several else "one copy",
        "on_disk": f"{share:,} pictures a node; vectors leave memory from 1 million on",
        "quantized": f"{share:,} pictures a node; from 1 million on int8 ranks first, floats again",
        "graph_on_disk": f"{share:,} pictures a node; the graph leaves memory from 20 million on",
        "bulk": f"{layout.images:,} pictures; from 100,000 on the graph is built after loading",
    }
    return [
        (
            field.replace("_", " "),
            _word(getattr(layout, field)),
            "given" if given.get(field) is not None else reason,
        )
        for field, reason in reasons.items()
    ]


def _without(layout: Layout, lost: int) -> str:
    """What goes on without some nodes, whichever they are."""
    back = "wait until it is back" if lost == 1 else "wait until enough are back"
    reads = "are answered" if lost <= layout.reads_survive else back
    return f"photos {reads}, index runs {'go on' if lost <= layout.writes_survive else back}"


def _word(value: int | bool) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
