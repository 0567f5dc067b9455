"""The service is what its OpenAPI document says, whatever is sent: cases from the document, by schemathesis.

Half of the cases name what exists and send a real photo, so that they reach further than the first check.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from retrieval.service.access import add_key
from retrieval.service.application import create_app
from retrieval.service.settings import Settings
from tests.hostile import bombs, polyglots, strangers
from tests.retrieval.service.asking import photo, tree

EXAMPLES = 8


@pytest.fixture
def described(shop: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """The document, as a source of cases that are sent to a service with an inbox; and parameters that exist there."""
    import schemathesis

    with TestClient(create_app(Settings(index=str(shop / "index"), inbox=shop / "inbox"))) as client:
        request = client.post("/v1/recognize", files={"photo": photo(1)}).headers["x-request-id"]
        (stack,) = client.get("/v1/inbox").json()["stacks"]
        names = {"product_id": "p001", "image": "p001/0.png", "photo": stack["stack"], "request_id": request}
        yield schemathesis.openapi.from_asgi("/openapi.json", client.app), names


def test_no_request_breaks_it_and_every_answer_is_as_described(described: tuple[Any, dict[str, str]]) -> None:
    from schemathesis.checks import CHECKS

    document, names = described
    # That a body is binary does not make it a photo: a photo that is none is refused, rightly.
    but = CHECKS.get_by_names(["positive_data_acceptance"])
    mended = CHECKS.get_by_names(["positive_data_acceptance", "negative_data_rejection"])
    said = {"label": "product", "product_id": "p001"}
    bodies = {
        "PUT /v1/products/{product_id}": {"name": "One"},
        "PUT /v1/products/{product_id}/cover": {"image": names["image"]},
        "POST /v1/inbox/labels": {"labels": [said | {"photo": names["photo"]}]},
        "POST /v1/inbox/undo": {"photos": [names["photo"]]},
        "POST /v1/feedback": said | {"request_id": names["request_id"]},
    }
    asked: list[tuple[str, int]] = []
    for operation in (result.ok() for result in document.get_all_operations()):

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy(), real=st.booleans())
        def send(case: Any, real: bool) -> None:
            if real:
                for name in (case.path_parameters or {}).keys() & names.keys():
                    case.path_parameters[name] = names[name]
                if case.media_type and case.media_type.startswith("image/"):
                    case.body = photo(1)
                elif case.operation.label in bodies:
                    case.body, case.media_type = bodies[case.operation.label], "application/json"
            kept = mended if real else but
            asked.append((case.operation.label, case.call_and_validate(excluded_checks=kept).status_code))

        send()
    answered = {operation for operation, status in asked if status < 300}
    assert answered >= {"POST /v1/recognize", "GET /v1/inbox", "GET /v1/inbox/{photo}", *bodies}, asked
    assert all(status < 500 for _, status in asked)


def test_what_is_described_of_an_answer_is_what_it_has(described: tuple[Any, dict[str, str]]) -> None:
    """A document that leaves everything open would prove nothing."""
    for operation in (result.ok() for result in described[0].get_all_operations()):
        for status, response in operation.definition.raw["responses"].items():
            for kind, content in response.get("content", {}).items():
                assert content["schema"] != {}, (operation.label, status)
                assert kind != "application/json" or content["schema"]["required"], (operation.label, status)


def test_hostile_files_teach_nothing(shop: Path, client: TestClient) -> None:
    before = tree(shop / "catalog")
    for name, data in {**bombs(), **polyglots(), **strangers()}.items():
        for path in ("/v1/products/p001/pictures", "/v1/refusals"):
            response = client.post(path, files={"photo": (name, data)})
            assert response.status_code in (400, 413, 422), (name, response.text)
    assert tree(shop / "catalog") == before
    assert client.get("/v1/refusals").json()["refusals"] == []


def test_without_a_key_nothing_but_health_is_told(shop: Path) -> None:
    add_key(shop / "keys.json", "till", "recognize")
    app = create_app(Settings(index=str(shop / "index"), keys=shop / "keys.json"))
    with TestClient(app) as client:
        for path, methods in client.get("/openapi.json").json()["paths"].items():
            for method in methods:
                response = client.request(method, path.replace("{", "").replace("}", ""), content=b"x")
                free = path in ("/healthz", "/readyz")
                signed = path.startswith("/v1/pictures/")
                assert response.status_code == (200 if free else 403 if signed else 401), (method, path)
