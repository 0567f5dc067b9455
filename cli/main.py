"""The `itemrec` command: the application, and the one place where errors become words and exit codes."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated

import typer
from typer.main import get_command

from cli import render
from retrieval.errors import ItemrecError, UsageError

COMMANDS = {
    "index": ("cli.index", "Make a catalog findable."),
    "watch": ("cli.watch", "Index a catalog whenever it changes."),
    "query": ("cli.query", "Which product is in this photo, or none of ours?"),
    "prepare": ("cli.prepare", "Make a dataset of raw photos."),
    "train": ("cli.train", "Learn a model from a dataset."),
    "evaluate": ("cli.evaluate", "Measure how well photos are recognized."),
    "calibrate": ("cli.calibrate", "Choose a model's threshold on your own photos."),
    "audit": ("cli.audit", "Find what spoils a catalog."),
    "doctor": ("cli.doctor", "Is everything healthy?"),
    "generations": ("cli.generations", "List the states that an index keeps."),
    "rollback": ("cli.generations", "Go back to an earlier state of an index."),
    "gc": ("cli.generations", "Remove states of an index that are no longer needed."),
    "copy": ("cli.move", "Bring an index to another place."),
    "snapshot": ("cli.move", "Write an index to one file with a checksum."),
    "restore": ("cli.move", "Make an index of a snapshot."),
    "serve": ("cli.serve", "Answer photos over HTTP, and on a page."),
    "mcp": ("cli.mcp", "Offer recognizing and teaching to agents, over MCP."),
    "demo": ("cli.demo", "Try it all on a drawn catalog."),
}
GROUPS = {
    "inbox": ("cli.inbox", "Say what photos show that a service was asked about."),
    "keys": ("cli.keys", "Who may ask a service."),
    "models": ("cli.models", "List, show, import and download models."),
    "refuse": ("cli.refuse", "Keep pictures of what is not ours."),
}

_READER_LEFT = 141
"""What a shell shows of a command that a closed pipe ended (`itemrec … | head`): 128 + SIGPIPE."""


def _version(value: bool) -> None:
    if value:
        from itemrec import __version__

        render.emit(f"itemrec {__version__}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Which product is in this photo, how sure, or none of ours?

    \b
    A first round:
      itemrec index ./catalog              one folder of pictures per product, optional products.csv
      itemrec query photo.jpg --top 5      match, ambiguous or unknown, with the evidence
      itemrec doctor                       is everything healthy?
      itemrec audit ./catalog              what spoils the catalog
      itemrec prepare ./raw ./data         raw photos to a dataset for training and measuring

    \b
    Photos to learn from?
      itemrec prepare ./photos ./data      a dataset without duplicates and leaks
      itemrec train ./data --out ./model   a model of your own products

    \b
    No catalog at hand?
      itemrec demo                         draws one, indexes it and recognizes photos of it

    Exit codes: 0 fine, 1 the answer is no, 2 wrong usage, 3 it broke.
    """


def application(only: str | None = None) -> typer.Typer:
    """The application with all its commands, or with one of them.

    A query in a new process must not pay for importing and describing every other command.

    Args:
        only: the name of a command or group; None for all.
    """
    app = typer.Typer(
        name="itemrec",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_main)
    for name, (module, short) in COMMANDS.items():
        if only in (None, name):
            app.command(name, short_help=short)(getattr(import_module(module), f"{name}_command"))
    for name, (module, short) in GROUPS.items():
        if only in (None, name):
            app.add_typer(import_module(module).app, name=name, short_help=short)
    return app


@functools.cache
def _command(only: str | None) -> Callable[..., object]:
    """What `application` gives, ready to be called; once a process, for whoever runs many commands in one."""
    return get_command(application(only))


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process with its code."""
    streams = render.StandardStreams()
    try:
        code = invoke(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        code = 130
    except render.OutputError:
        code = 0  # `lost` knows
    except (Exception, SystemExit):  # noqa: BLE001 (what `invoke` raises only under ITEMREC_DEBUG)
        from traceback import print_exc

        print_exc()
        code = ItemrecError.exit_code
    lost = streams.lost()
    if lost is not None and code in (0, 1):
        # Neither "fine" nor "the answer is no": nobody has the answer. A failure that was told keeps its code.
        code = _READER_LEFT if lost.reader_left else ItemrecError.exit_code
        if not lost.reader_left:
            render.complain(f"error: {lost.message}")
            sys.stderr.flush()
    # Every command has closed what it opened. Taking the interpreter and the runtimes apart
    # would cost a query 5 % of its time (benchmarks/cold.py) and bring nothing.
    os._exit(code)


def invoke(arguments: list[str]) -> int:
    """Run one command and return its exit code; every failure becomes one line on stderr.

    Args:
        arguments: what follows `itemrec` on the command line.
    """
    as_json = "--json" in arguments
    if not arguments or (len(arguments) == 1 and arguments[0] in GROUPS):
        arguments = [*arguments, "--help"]
    try:
        first = arguments[0] if arguments else ""
        command = _command(first if first in COMMANDS or first in GROUPS else None)
        result = command(arguments, standalone_mode=False, prog_name="itemrec")
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except ItemrecError as error:
        render.report_error(error, as_json=as_json)
        return error.exit_code
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        help_for = " ".join(["itemrec", *_command_words(arguments), "--help"])
        render.report_error(UsageError(" ".join(message.split()), hint=f"See: {help_for}"), as_json=as_json)
        return 2
    except KeyboardInterrupt:
        render.say("Interrupted.")
        return 130
    except SystemExit as left:
        if not left.code:
            return 0
        # A library ended the process, as typer does where any pipe broke.
        return _broke(left.__context__ or left, as_json=as_json)
    except Exception as error:  # noqa: BLE001 (raised again under ITEMREC_DEBUG)
        return _broke(error, as_json=as_json)


def _broke(error: BaseException, *, as_json: bool) -> int:
    if os.environ.get("ITEMREC_DEBUG"):
        raise error
    unexpected = _unexpected(error)
    render.report_error(unexpected, as_json=as_json)
    return unexpected.exit_code


def _unexpected(error: BaseException) -> ItemrecError:
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if package not in {"itemrec", "retrieval", "trainer", "cli"}:
            from retrieval.system.installation import install_hint, missing

            return ItemrecError(missing(f"The Python package {package}", "this command"), hint=install_hint())
    return ItemrecError(
        f"something unexpected broke: {type(error).__name__}: {error}",
        hint="Please report it with the output of the same command under ITEMREC_DEBUG=1.",
    )


def _command_words(arguments: Sequence[str]) -> list[str]:
    words = list(arguments[:1]) if arguments and (arguments[0] in COMMANDS or arguments[0] in GROUPS) else []
    if words and words[0] in GROUPS and len(arguments) > 1 and not arguments[1].startswith("-"):
        words.append(arguments[1])
    return words


if __name__ == "__main__":
    run()
