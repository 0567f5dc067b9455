"""Commands that a message tells the user to run, ready for a shell."""

from __future__ import annotations

REBUILD_HINT = "Rebuild the index from its catalog: itemrec index CATALOG --rebuild"
"""Where neither the catalog nor the index can be named."""


def index_command(catalog: str, location: str, *, model: str | None = None, rebuild: bool = True) -> str:
    """The command that makes an index anew, or finishes it, ready for a shell.

    Args:
        catalog: the catalog's path.
        location: where the index is.
        model: a name or a path; None for the index's own.
        rebuild: anew.
    """
    import shlex  # only messages need it, and every query imports this module

    chosen = ["--model", model] if model is not None else []
    return shlex.join(["itemrec", "index", catalog, "--index", location, *chosen, *(["--rebuild"] if rebuild else [])])
