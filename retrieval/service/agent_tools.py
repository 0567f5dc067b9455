"""Three tools for programs that speak the Model Context Protocol: recognize, product, teach.

They are what the routes of the same names do, for one user on this machine: photos are named by their path.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field

from retrieval.errors import ItemrecError
from retrieval.recognition.answer import query_document
from retrieval.recognition.recognizer import parse_where
from retrieval.service.problems import Problem
from retrieval.service.shared import Shared
from retrieval.system.version import release

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

T = TypeVar("T")

_ABOUT = (
    "Which product of a shop's catalog is in a photo, how sure, or none of them. "
    "A verdict is match, ambiguous or unknown; an unknown photo shows no product of the catalog."
)
_PATIENCE = 60.0

Photo = Annotated[str, Field(description="Path of a photo on this machine.")]
ProductId = Annotated[str, Field(description="As recognize returns it.")]


def agent_server(shared: Shared, *, teach: bool = True) -> MCPServer[Any]:
    """The tools, as a server for any of the protocol's transports.

    Args:
        shared: the service behind them, started.
        teach: also offer what writes into the catalog.
    """
    from mcp.server.mcpserver import MCPServer

    server: MCPServer[Any] = MCPServer("itemrec", instructions=_ABOUT, version=release(), log_level="WARNING")

    @server.tool()
    def recognize(
        photo: Photo,
        top: Annotated[int, Field(ge=1, le=100, description="Products to return at most.")] = 5,
        where: Annotated[list[str], Field(description="Only products with this metadata: category=Milk")] = [],  # noqa: B006 (never changed)
    ) -> dict[str, Any]:
        """Which product of the catalog is in a photo, how sure, or none of them."""
        return _or_tell(lambda: _recognize(shared, photo, top, where))

    @server.tool()
    def product(product_id: ProductId) -> dict[str, Any]:
        """What the catalog says of one product, and paths of its pictures in the catalog."""
        return _or_tell(lambda: _product(shared, product_id))

    if teach:

        @server.tool(name="teach")
        def learn(
            photo: Photo,
            product_id: ProductId,
            new: Annotated[bool, Field(description="Make the product; else it must exist.")] = False,
            name: Annotated[str, Field(max_length=200, description="What a new product is called.")] = "",
        ) -> dict[str, Any]:
            """Make a photo a picture of a product, after a person confirmed what it shows; found when this returns."""
            return _or_tell(lambda: _teach(shared, photo, product_id, new=new, name=name))

    return server


def _recognize(shared: Shared, photo: str, top: int, where: list[str]) -> dict[str, Any]:
    shop = shared.shop
    answer = shop.recognize(Path(photo), top=top, where=parse_where(where, shop.live()))
    return query_document(
        [answer], [], fingerprint=shop.model.fingerprint, threshold=shop.threshold, calibration=shop.in_use()
    )


def _product(shared: Shared, product_id: str) -> dict[str, Any]:
    found = shared.products.get(product_id)
    if found is None:
        raise Problem(404, "no-product", "expected a product of the index, received an id that it does not have")
    return {"schema": "itemrec.product/1", "name": found.name, **found.to_json()}


def _teach(shared: Shared, photo: str, product_id: str, *, new: bool, name: str) -> dict[str, Any]:
    from retrieval.images.pictures import read_file

    job = shared.teaching.teach(read_file(Path(photo)), product_id, name=name, new=new)
    until = time.monotonic() + _PATIENCE
    while job.state in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.05)
    return job.to_json()


def _or_tell(work: Callable[[], T]) -> T:
    """What some work returns; what goes wrong as one line with a hint, as the protocol tells it.

    Raises:
        ToolError: it went wrong.
    """
    from mcp.server.mcpserver.exceptions import ToolError

    try:
        return work()
    except (ItemrecError, Problem) as error:
        raise ToolError(f"{error.message}. {error.hint}".rstrip()) from error
