"""`itemrec models`: which models there are, and how to bring another one."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
