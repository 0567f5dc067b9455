"""`itemrec serve`: answer photos over HTTP, and on a page."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.options import (
    InCatalogOption,
    IndexOption,
    ModelOption,
    QuietOption,
    SureOption,
    ThresholdOption,
    VerifyOption,
    index_location,
    setting,
)
from retrieval.errors import ItemrecError, UsageError
from retrieval.system.text import plural, printable

if TYPE_CHECKING:
    from fastapi import FastAPI


def serve_command(
    index: IndexOption = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; one that others reach needs --keys.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = 8080,
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="FILE", help="Ask for a key; itemrec keys add makes them.")
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Also serve the page for people.")] = True,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="Answer to this host name only; may be repeated."),
    ] = None,
    origins: Annotated[
        list[str] | None,
        typer.Option("--origin", metavar="URL", help="A web page of elsewhere that may ask; may be repeated."),
    ] = None,
    waiting: Annotated[
        int, typer.Option("--waiting", min=0, max=10_000, help="Requests that may wait for a free core.")
    ] = 32,
    seconds: Annotated[
        float, typer.Option("--deadline", min=0.1, max=3600, help="Seconds after which a request is given up.")
    ] = 30.0,
    inbox: Annotated[
        Path | None,
        typer.Option("--inbox", metavar="DIR", help="Keep the photos that are asked about here, to be labeled."),
    ] = None,
    inbox_photos: Annotated[
        int, typer.Option("--inbox-photos", min=1, help="Photos that the inbox holds at most; the oldest go.")
    ] = 20_000,
    inbox_mib: Annotated[
        int, typer.Option("--inbox-mib", metavar="MIB", min=1, help="MiB of pictures that it holds at most.")
    ] = 2048,
    inbox_days: Annotated[
        float, typer.Option("--inbox-days", min=0.01, help="Days that it keeps a photo without a label.")
    ] = 90.0,
    model: ModelOption = None,
    sure: SureOption = None,
    in_catalog: InCatalogOption = None,
    threshold: ThresholdOption = None,
    verify: VerifyOption = None,
    quiet: QuietOption = False,
) -> int:
    """Answer photos over HTTP: POST /v1/recognize, and a page to drop or shoot them on.

    What an index run, a rollback or a calibration makes live is picked up while it runs. Stop it with Ctrl-C: what is
    under way is answered first.

    \b
    Examples:
      itemrec serve
      curl -F photo=@photo.jpg http://127.0.0.1:8080/v1/recognize
      itemrec serve --inbox ./inbox
      itemrec serve --host 0.0.0.0 --keys keys.json --name shop.example
    """
    render.configure(quiet=quiet)
    if keys is None and not _is_loopback(host):
        raise UsageError(
            f"expected --keys for {printable(host)}, which others can reach, received none",
            hint="Make one: itemrec keys add keys.json NAME; then: itemrec serve --keys keys.json",
        )
    try:
        import uvicorn

        from retrieval.inbox.inbox import Caps
        from retrieval.service.application import create_app
        from retrieval.service.settings import LOCAL_HOSTS, Settings
    except ModuleNotFoundError as error:
        from retrieval.system.installation import install_hint, missing

        raise ItemrecError(
            missing(f"The Python package {error.name}", "itemrec serve"), hint=install_hint("serve")
        ) from error
    app = create_app(
        Settings(
            index=index_location(index),
            model=setting("model", model),
            threshold=setting("threshold", threshold),
            sure=setting("sure", sure),
            in_catalog=setting("in_catalog", in_catalog),
            verify=setting("verify", verify),
            keys=keys,
            page=page,
            waiting=waiting,
            seconds=seconds,
            hosts=tuple(names) if names else LOCAL_HOSTS if keys is None else (),
            origins=tuple(origins or ()),
            inbox=inbox,
            inbox_caps=Caps(inbox_photos, inbox_mib * 2**20, inbox_days),
        )
    )
    listener = _listen(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(seconds) + 1,
            timeout_keep_alive=20,
            h11_max_incomplete_event_size=65_536,
        )
    )
    _say(app, host, listener.getsockname()[1], page)
    server.run(sockets=[listener])
    return 0


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: there is no such address here, or somebody listens there already.
    """
    try:
        # With its protocol named, asyncio sends answers at once: see `_set_nodelay`.
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as failed:
            listener = failed.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(256)
            failed.pop_all()
    except OSError as error:
        raise UsageError(
            f"expected a free address, received {printable(host)}:{port}: {error.strerror or error}",
            hint="Choose another with --port, or stop who listens there.",
        ) from error
    return listener


def _say(app: FastAPI, host: str, port: int, page: bool) -> None:
    shop = app.state.shared.shop
    shown = f"[{host}]" if ":" in host else host
    held = f"{plural(shop.manifest.images, 'picture')} of {plural(shop.manifest.products, 'product')}"
    render.say(f"Serving {held} ({shop.model.name}) at http://{shown}:{port}/{'' if page else 'v1/recognize'}")
    render.say("Stop it with Ctrl-C.")
