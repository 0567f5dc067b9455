"""`itemrec mcp`: recognize, product and teach as tools for agents, over the Model Context Protocol."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import render
from cli.options import IndexOption, ModelOption, index_location, setting
from retrieval.errors import ItemrecError


def mcp_command(
    index: IndexOption = None,
    model: ModelOption = None,
    teach: Annotated[
        bool, typer.Option("--teach/--no-teach", help="Offer the tool that writes confirmed photos into the catalog.")
    ] = True,
) -> int:
    """Offer recognize, product and teach to an agent that starts this command: MCP over standard input and output.

    Photos are named by their path on this machine.

    \b
    Examples:
      itemrec mcp --index .itemrec
      itemrec mcp --no-teach
    """
    render.configure()
    try:
        import mcp  # noqa: F401 (before the index is opened)

        from retrieval.service.agent_tools import agent_server
        from retrieval.service.settings import Settings
        from retrieval.service.shared import Shared
    except ModuleNotFoundError as error:
        from retrieval.system.installation import install_hint, missing

        raise ItemrecError(
            missing(f"The Python package {error.name}", "itemrec mcp"), hint=install_hint("mcp")
        ) from error
    shared = Shared(Settings(index=index_location(index), model=setting("model", model)))
    shared.start()
    try:
        agent_server(shared, teach=teach).run("stdio")
    finally:
        shared.close()
    return 0
