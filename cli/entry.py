"""Where the `itemrec` script enters: Ctrl-C while modules are still being imported is no traceback either."""

from __future__ import annotations

import os


def run() -> None:
    """Import the application and run it; see `cli.main.run`."""
    try:
        from cli.main import run as run_application
    except KeyboardInterrupt:
        os._exit(130)
    run_application()


if __name__ == "__main__":
    run()
