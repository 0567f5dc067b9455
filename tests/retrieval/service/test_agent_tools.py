"""The tools for agents, asked by the protocol's own client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from retrieval.recognition.api import Recognizer
from retrieval.service.agent_tools import agent_server
from retrieval.service.settings import Settings
from retrieval.service.shared import Shared
from tests.retrieval.service.asking import photo


def asked(shop: Path, calls: list[tuple[str, dict[str, Any]]], *, teach: bool = True) -> tuple[list[str], list[Any]]:
    """The names of the tools, and what some calls of them returned."""

    async def ask() -> tuple[list[str], list[Any]]:
        async with Client(agent_server(shared, teach=teach)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            return names, [await client.call_tool(name, arguments) for name, arguments in calls]

    shared = Shared(Settings(index=str(shop / "index")))
    shared.start()
    try:
        return asyncio.run(ask())
    finally:
        shared.close()


@pytest.fixture
def photos(shop: Path) -> dict[str, str]:
    for name, data in (("one", photo(1)), ("rival", photo(5)), ("again", photo(5, view=2)), ("none", b"no picture")):
        (shop / f"{name}.png").write_bytes(data)
    return {name: str(shop / f"{name}.png") for name in ("one", "rival", "again", "none")}


def test_recognize_product_and_teach(shop: Path, photos: dict[str, str]) -> None:
    with Recognizer(shop / "index") as recognizer:
        ours = recognizer.recognize(Path(photos["one"])).to_json()
    names, (seen, product, before, taught, after) = asked(
        shop,
        [
            ("recognize", {"photo": photos["one"], "top": 3}),
            ("product", {"product_id": "p001"}),
            ("recognize", {"photo": photos["rival"]}),
            ("teach", {"photo": photos["rival"], "product_id": "p005", "new": True, "name": "Five"}),
            ("recognize", {"photo": photos["again"]}),
        ],
    )
    assert names == ["recognize", "product", "teach"]
    (result,) = seen.structured_content["results"]
    assert seen.structured_content["schema"] == "itemrec.query/1"
    assert result["matches"] == ours["matches"]
    assert (product.structured_content["name"], product.structured_content["product_id"]) == ("One", "p001")
    assert before.structured_content["results"][0]["verdict"] == "unknown"
    assert taught.structured_content["state"] == "done"
    (match,) = after.structured_content["results"][0]["matches"]
    assert (match["product_id"], match["metadata"]["name"]) == ("p005", "Five")


def test_what_goes_wrong_is_one_line(shop: Path, photos: dict[str, str]) -> None:
    names, answers = asked(
        shop,
        [
            ("recognize", {"photo": photos["none"]}),
            ("recognize", {"photo": str(shop / "nowhere.png")}),
            ("recognize", {"photo": photos["one"], "where": ["color=red"]}),
            ("product", {"product_id": "nobody"}),
            ("teach", {"photo": photos["one"], "product_id": "p001"}),
        ],
        teach=False,
    )
    assert names == ["recognize", "product"]
    for answer in answers:
        assert answer.is_error
        (said,) = answer.content
        assert "\n" not in said.text
        assert "Traceback" not in said.text
    assert not list((shop / "catalog").glob("*/taught-*"))
