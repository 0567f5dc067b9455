"""Run the engine's optimizer on a closed shard, in a process of its own: ``optimize_child.py SHARD …``.

``optimize()`` holds the GIL for minutes, deaf to Ctrl-C; alone in a process it can be ended
like any process. It is run as a file, with nothing of the package imported, and dies with
the process that started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _die_with(parent: int) -> None:
    """Linux: be killed when the parent ends, so that an orphan cannot keep the shard open."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)


def main(shard_path: str, dimension: str, indexing_threshold_kb: str, parent: str) -> None:
    """Optimize a shard with segments above the threshold indexed; the exit code says whether that worked."""
    _die_with(int(parent))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import qdrant_edge as edge

    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=int(dimension), distance=edge.Distance.Euclid),
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=int(indexing_threshold_kb), default_segment_number=1),
    )
    shard = edge.EdgeShard.load(shard_path, config)
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
