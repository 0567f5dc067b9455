"""`itemrec keys`: who may ask a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import render
from cli.options import JsonOption
from retrieval.errors import UsageError
from retrieval.system.text import printable

app = typer.Typer(help="Keys of a service: who may ask it, and what.", rich_markup_mode=None)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The file of keys, as serve --keys reads it.")]


@app.command("add")
def add(
    file: FileArgument,
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    role: Annotated[str, typer.Option("--role", help="What it may do: recognize, teach or admin.")] = "recognize",
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="All that it sees; forced onto each of its queries."),
    ] = None,
    rate: Annotated[
        float, typer.Option("--rate", min=0.01, max=1e6, help="Requests a second; twice as many may come at once.")
    ] = 20.0,
    as_json: JsonOption = False,
) -> int:
    """Add a key and print it. It is printed once: the file holds its digest alone.

    A service that runs reads the file again by itself.

    \b
    Examples:
      itemrec keys add keys.json till-1
      itemrec keys add keys.json partner --where brand=Arla --rate 2
    """
    render.configure(json=as_json)
    from retrieval.service.access import add_key

    key, secret = add_key(file, name, role, where=tuple(where or ()), rate=rate)
    if as_json:
        render.emit_json({"schema": "itemrec.key/1", "id": key.id, "name": key.name, "role": key.role, "key": secret})
    else:
        render.emit(secret)
        render.say(f"{printable(key.name)} may {key.role}. Send it as: Authorization: Bearer {secret[:13]}…")
    return 0


@app.command("list")
def list_keys(file: FileArgument, as_json: JsonOption = False) -> int:
    """List keys: whose they are and what they may do."""
    render.configure(json=as_json)
    from retrieval.service.access import read_keys

    keys = read_keys(file)
    if as_json:
        known = [{"id": k.id, "name": k.name, "role": k.role, "where": list(k.where), "rate": k.rate} for k in keys]
        render.emit_json({"schema": "itemrec.keys/1", "keys": known})
        return 0
    rows = [[k.id, printable(k.name), k.role, printable(" ".join(k.where)), f"{k.rate:g}/s"] for k in keys]
    render.table(["id", "name", "role", "where", "rate"], rows, right=[4])
    return 0


@app.command("remove")
def remove(file: FileArgument, key: Annotated[str, typer.Argument(metavar="ID", help="As keys list shows it.")]) -> int:
    """Take a key back. A service that runs refuses it from then on."""
    from retrieval.service.access import read_keys, write_keys

    keys = read_keys(file)
    left = [k for k in keys if k.id != key]
    if len(left) == len(keys):
        raise UsageError(
            f"expected the id of a key, received {printable(key)}, which no key has", hint="itemrec keys list FILE"
        )
    write_keys(file, left)
    render.say(f"Removed {key}.")
    return 0
