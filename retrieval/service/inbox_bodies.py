"""What requests about the inbox send: JSON of known fields, checked, and never more than allowed."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from retrieval.inbox.entries import LONGEST_TEXT, MOST_LABELS, LabelKind
from retrieval.service.problems import Problem
from retrieval.service.uploads import read_object
from retrieval.system.text import printable

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Ident = Annotated[str, Field(max_length=64)]

B = TypeVar("B", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Said(_Body):
    label: LabelKind = Field(description="What the photo shows: a product, a new one, none of ours, or nothing to say.")
    product_id: Text = Field("", description="With `product` and `new`.")
    name: Text = Field("", description="What a new product is called.")
    gtin: Annotated[str, Field(max_length=14)] = Field("", description="The digits under a new product's barcode.")
    note: Text = Field("", description="What it shows that is not ours.")


class LabelBody(_Said):
    """What one photo shows."""

    photo: Ident = Field(description="Its id.")


class LabelsBody(_Body):
    """The body of `POST /v1/inbox/labels`."""

    labels: list[LabelBody] = Field(min_length=1, max_length=MOST_LABELS)


class FeedbackBody(_Said):
    """The body of `POST /v1/feedback`."""

    request_id: Ident = Field(description="Of a recognize answer, or its header X-Request-Id.")
    place: int = Field(0, ge=0, le=1000, description="Which photo of that request, from 0.")


class UndoBody(_Body):
    """The body of `POST /v1/inbox/undo`: one of both."""

    batch: Ident = Field("", description="Of the answer to labels: takes all of them back.")
    photos: list[Ident] = Field([], max_length=MOST_LABELS, description="Takes back the last label of each.")


async def read_body(request: Request, kind: type[B]) -> B:
    """The JSON of a request.

    Raises:
        Problem: as `retrieval.service.uploads.read_object`; 422 for JSON that is not as described.
    """
    data = await read_object(request)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in fault["loc"]) or "the body"
        raise Problem(422, "wrong-usage", f"{printable(name)}: {printable(fault['msg'])}") from error


def described(kind: type[BaseModel]) -> dict[str, object]:
    """A body in the OpenAPI document."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": kind.model_json_schema()}}}}
