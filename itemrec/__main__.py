"""Where `itemrec` and `python -m itemrec` enter.

Ctrl-C while modules are still being imported is no traceback, nor is a foreign package in the place of one of ours,
nor a dependency that is not installed.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from itemrec import _siblings


def main() -> None:
    """Import the application and run it; see `cli.main.run`."""
    try:
        for name in _siblings.SIBLINGS:
            if wrong := _siblings.fault(name):
                _fail(wrong)
        from cli.main import run
    except KeyboardInterrupt:
        os._exit(130)
    except ModuleNotFoundError as error:
        _fail(f"the Python package {error.name} is not installed. Install itemrec again, with what it depends on.")
    except ImportError as error:
        _fail(f"an installed package is broken: {error}. Install itemrec again, with what it depends on.")
    run()


def _fail(message: str) -> NoReturn:
    with suppress(OSError):
        print(f"itemrec: error: {message}", file=sys.stderr, flush=True)
    os._exit(3)


if __name__ == "__main__":
    main()
