"""Which release this is."""

from __future__ import annotations


def release() -> str:
    """The installed version of itemrec; empty where it runs without being installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("itemrec")
    except PackageNotFoundError:
        return ""
