"""What the OpenAPI document shows of requests and answers."""

from __future__ import annotations

from typing import Any

_MATCH = {
    "product_id": "0012",
    "score": 0.61,
    "votes": 3,
    "share": 0.72,
    "best_distance": 0.083,
    "metadata": {"name": "Pear Conference"},
    "evidence": [{"image": "0012/front.jpg", "distance": 0.083, "link": "v1/pictures/0012/front.jpg?sig=…"}],
    "confidence": 0.93,
}
_ERROR = {
    "schema": "itemrec.error/1",
    "error": "ImageError",
    "status": 422,
    "code": "truncated",
    "message": "expected a whole picture, received a part of one",
    "hint": "",
    "request_id": "7d4c6d5b9e1a2f30",
}


_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_FREE = ("metadata", "timings_ms", "counts")
"""Objects whose keys are the catalog's, or depend on what was done."""
_OPTIONAL = frozenset(
    ["after", "before", "code", "confidence", "in_catalog", "interval", "label", "result", "share", "since", "state"]
)
"""Keys that are missing, or null, where there is nothing to say: no confidence without a calibration."""


def _schema(example: Any, name: str = "") -> dict[str, Any]:
    """What a document like this one is: all its keys and their types; more keys may come."""
    if example is None:
        return {}
    kind = _TYPES[type(example)]
    described: dict[str, Any] = {"type": [kind, "null"] if name in _OPTIONAL else kind}
    if isinstance(example, list):
        described["items"] = _schema(example[0]) if example else {}
    elif isinstance(example, dict) and name not in _FREE:
        described |= {
            "properties": {key: _schema(value, key) for key, value in example.items()},
            "required": [key for key in example if key not in _OPTIONAL],
        }
    if name == "schema":
        described["const"] = example
    return described


def example(document: dict[str, Any]) -> dict[str, Any]:
    """A JSON answer, as the document shows it, and what all like it have."""
    return {"content": {"application/json": {"schema": _schema(document), "example": document}}}


def either(first: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
    """A JSON answer of one of several kinds: an example of the first, and what all like each of them have."""
    kinds = [_schema(document) for document in (first, *others)]
    common = [key for key in kinds[0]["required"] if all(key in kind["required"] for kind in kinds)]
    schema = {"type": "object", "required": common, "anyOf": kinds}
    return {"content": {"application/json": {"schema": schema, "example": first}}}


def error(description: str) -> dict[str, Any]:
    """An answer that something is wrong."""
    return {"description": description, **example(_ERROR)}


ERRORS: dict[int | str, dict[str, Any]] = {
    401: error("No key of this service."),
    403: error("This key may not."),
    422: error("A parameter or the photo cannot be used."),
    429: error("This key asks too often."),
    503: error("Too many wait, or the index cannot be read now; see Retry-After."),
    504: error("It took too long."),
}
BODY: dict[int | str, dict[str, Any]] = {
    400: error("No photo, or a broken form."),
    408: error("The photo came too slowly."),
    413: error("Too many bytes or photos."),
    415: error("Neither an image nor a form."),
}
GONE: dict[int | str, dict[str, Any]] = {404: error("There is none of that name.")}
_BINARY = {"schema": {"type": "string", "format": "binary"}}

_ITEMS = {
    "schema": "itemrec.items/1",
    "fingerprint": "9f2c…",
    "results": [
        {
            "source": "shelf.jpg",
            "size": [3024, 4032],
            "items": [
                {
                    "verdict": "match",
                    "box": [104.5, 96.0, 310.2, 402.8],
                    "quad": [[104.5, 96.0], [310.2, 97.1], [309.8, 402.8], [105.0, 401.9]],
                    "matches": [{"product_id": "0012", "image": "0012/front.jpg", "link": "v1/pictures/…"}],
                }
            ],
            "regions": [],
            "counts": {"0012": 1},
            "pictures": 240,
            "missing": 0,
            "timings_ms": {"look": 120.4},
        }
    ],
    "refused": [],
}
RECOGNIZE: dict[str, Any] = {
    "responses": {
        200: either(
            {
                "schema": "itemrec.query/1",
                "fingerprint": "9f2c…",
                "threshold": 0.954,
                "results": [
                    {"source": "photo.jpg", "verdict": "match", "matches": [_MATCH], "timings_ms": {"embed": 3.1}}
                ],
                "refused": [],
            },
            _ITEMS,
        ),
        **BODY,
        **ERRORS,
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"photo": {"type": "array", "items": _BINARY["schema"], "maxItems": 16}},
                        "required": ["photo"],
                    }
                },
                "image/*": _BINARY,
            },
        }
    },
}
_PRODUCT = {
    "product_id": "0012",
    "name": "Pear Conference",
    "metadata": {"name": "Pear Conference"},
    "images": [{"image": "0012/front.jpg", "link": "v1/pictures/0012/front.jpg?sig=…", "taught": False}],
}
_JOB = {
    "schema": "itemrec.job/1",
    "job": "9b1c0f3e5a7d2468",
    "state": "waiting",
    "action": "add",
    "product_id": "0012",
    "image": "0012/taught-3f0a5b6c7d8e9f01.jpg",
    "change": None,
    "message": "",
}
TEACH: dict[str, Any] = {
    "responses": {202: example(_JOB), **BODY, **GONE, **ERRORS},
    "openapi_extra": RECOGNIZE["openapi_extra"],
}
_REFUSAL = {
    "refusal_id": "5f0c6f0a-3a52-5a3f-9f06-6f2f4b6f0f0e",
    "image": "rival.jpg",
    "note": "the rival's oat milk",
    "created": "2026-11-28T09:30:00.000+00:00",
}
REFUSE: dict[str, Any] = {
    "responses": {201: example({"schema": "itemrec.refusal/1", **_REFUSAL}), **BODY, **ERRORS},
    "openapi_extra": RECOGNIZE["openapi_extra"],
}
REFUSALS: dict[str, Any] = {
    "responses": {200: example({"schema": "itemrec.refusals/1", "refusals": [_REFUSAL]}), **ERRORS}
}
UNREFUSE: dict[str, Any] = {"responses": {**REFUSALS["responses"], **GONE}}
FORGET: dict[str, Any] = {"responses": {202: example(_JOB), **GONE, **ERRORS}}
JOB: dict[str, Any] = {"responses": {200: example(_JOB), 404: error("No such job."), **ERRORS}}
PRODUCTS: dict[str, Any] = {
    "responses": {200: example({"schema": "itemrec.products/1", "total": 1, "products": [_PRODUCT]}), **ERRORS}
}
PRODUCT: dict[str, Any] = {
    "responses": {
        200: example({"schema": "itemrec.product/1", **_PRODUCT}),
        404: error("No such product."),
        **ERRORS,
    }
}
_CHANGED = {**_JOB, "image": "", "change": "20261128T093000123456-5f0c6f0a"}


def _object(example: dict[str, Any], **properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False, "minProperties": 1}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


DESCRIBE: dict[str, Any] = {
    "responses": {202: example({**_CHANGED, "action": "edit"}), 400: error("No JSON object."), **GONE, **ERRORS},
    "openapi_extra": _object(
        {"name": "Pear Conference", "metadata": {"barcode": "7310865004703", "price": 2.5}},
        name={"type": "string", "maxLength": 200},
        metadata={"type": "object"},
    ),
}
REMOVE: dict[str, Any] = {"responses": {202: example({**_CHANGED, "action": "remove-product"}), **GONE, **ERRORS}}
COVER: dict[str, Any] = {
    "responses": {
        200: example({"schema": "itemrec.product/1", **_PRODUCT}),
        400: error("No JSON object."),
        **GONE,
        **ERRORS,
    },
    "openapi_extra": _object({"image": "0012/front.jpg"}, image={"type": ["string", "null"]}),
}
_CHANGE = {
    "change": "20261128T093000123456-5f0c6f0a",
    "action": "remove-product",
    "product_id": "0012",
    "created": "2026-11-28T09:30:00+00:00",
    "pictures": 3,
}
CHANGES: dict[str, Any] = {"responses": {200: example({"schema": "itemrec.changes/1", "changes": [_CHANGE]}), **ERRORS}}
UNDO: dict[str, Any] = {
    "responses": {202: example({**_JOB, "action": "undo"}), 404: error("No such change."), **ERRORS}
}
PICTURE: dict[str, Any] = {
    "responses": {
        200: {"description": "The picture.", "content": {"image/jpeg": _BINARY}},
        304: {"description": "The one that the browser has."},
        403: error("No link of an answer."),
        404: error("The picture is not there any more."),
        422: ERRORS[422],
        503: ERRORS[503],
        504: ERRORS[504],
    }
}
_STATUS = {
    "schema": "itemrec.status/1",
    "version": "0.1.0",
    "images": 240,
    "products": 81,
    "generation": 3,
    "columns": ["name"],
    "model": {"name": "starter", "fingerprint": "9f2c…"},
    "threshold": 0.954,
    "role": "recognize",
    "whole_catalog": True,
}
STATUS: dict[str, Any] = {"responses": {200: example(_STATUS), **ERRORS}}
HEALTHY: dict[str, Any] = {"responses": {200: example({"status": "ok"})}}
READY: dict[str, Any] = {
    "responses": {200: example({"status": "ready"}), 503: error("It cannot answer photos now."), 504: ERRORS[504]}
}
METRICS: dict[str, Any] = {
    "responses": {
        200: {"description": "As Prometheus reads it.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        401: ERRORS[401],
        403: ERRORS[403],
        429: ERRORS[429],
    }
}
