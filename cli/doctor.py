"""`itemrec doctor`: is everything healthy?"""

from __future__ import annotations

from typing import Annotated

import typer

from cli import render
from cli.options import IndexOption, JsonOption, ModelOption, QuietOption, index_location, setting
from retrieval.system.text import printable

_SPOKEN = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def doctor_command(
    index: IndexOption = None,
    model: ModelOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Compare with what was committed; every picture must find itself.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Check versions, model, index and disk; exit 1 when something is wrong, which a warning is not.

    \b
    Examples:
      itemrec doctor
      itemrec doctor --full --json
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.doctor import Check, examine
    from retrieval.index.open import open_index

    target = open_index(index_location(index))
    checks: list[Check] = []
    for check in examine(target, setting("model", model), sample=None if full else 200):
        checks.append(check)
        if not as_json:
            render.emit(f"{_SPOKEN[check.state]}  {check.name}: {printable(check.detail)}")
            if check.hint:
                render.emit(f"      {printable(check.hint)}")
    healthy = all(check.healthy for check in checks)
    if as_json:
        render.emit_json(
            {
                "schema": "itemrec.doctor/1",
                "healthy": healthy,
                "index": target.location,
                "checks": [check.to_json() for check in checks],
            }
        )
    return 0 if healthy else 1
