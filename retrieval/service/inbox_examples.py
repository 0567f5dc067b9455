"""What the OpenAPI document shows of the inbox."""

from __future__ import annotations

from typing import Any

from retrieval.service.examples import ERRORS, error, example
from retrieval.service.inbox_bodies import FeedbackBody, LabelsBody, UndoBody, described

_LABEL = {
    "label": "product",
    "product_id": "0012",
    "name": "",
    "gtin": "",
    "note": "",
    "by": "k3x9a2mz",
    "at": "2026-11-28T09:31:00.000Z",
    "undo_until": "2026-12-28T09:31:00.000Z",
    "batch": "5d2e8c41a7b09f36",
    "state": "taught",
    "why": "",
}
_CANDIDATE = {
    "product_id": "0012",
    "confidence": 0.41,
    "best_distance": 0.83,
    "metadata": {"name": "Pear Conference"},
    "evidence": [{"image": "0012/front.jpg", "distance": 0.83, "link": "v1/pictures/0012/front.jpg?sig=…"}],
}
_PHOTO = {
    "photo": "6a1f0c9d2b7e4835a0c1d2e3",
    "name": "IMG_0412.jpg",
    "request_id": "7d4c6d5b9e1a2f30",
    "first_asked": "2026-11-28T09:30:00.000Z",
    "asked": "2026-11-28T09:30:00.000Z",
    "times": 1,
    "verdict": "unknown",
    "matches": [],
    "nearest": [_CANDIDATE],
    "in_catalog": 0.31,
    "fingerprint": "9f2c…",
    "quality": {"width": 3024, "height": 4032, "brightness": 104.2, "sharpness": 0.1312, "badges": []},
    "held_out": False,
    "label": None,
    "link": "v1/inbox/6a1f0c9d2b7e4835a0c1d2e3/picture?sig=…",
}
_HELD = {"photos": 214, "unlabeled": 31, "waiting": 0, "bytes": 48_211_003}
_SAID = {
    "schema": "itemrec.labels/1",
    "batch": "5d2e8c41a7b09f36",
    "items": [
        {"photo": "6a1f0c9d2b7e4835a0c1d2e3", "ok": True, "state": "waiting", "why": ""},
        {
            "photo": "0f4b…",
            "ok": True,
            "state": "measured",
            "why": "One photo in five is kept to measure on, and never taught.",
        },
        {
            "photo": "77aa…",
            "ok": False,
            "state": None,
            "why": "expected a product of the catalog, received an id that it does not have",
            "code": "no-product",
        },
    ],
}
_NONE = error("No such photo, or a service without an inbox (code `no-inbox`).")

INBOX: dict[str, Any] = {
    "responses": {
        200: example(
            {
                "schema": "itemrec.inbox/1",
                "held": _HELD,
                "stacks": [{"stack": _PHOTO["photo"], "count": 1, "photos": [_PHOTO]}],
                "after": "WzAsLTE3NjQ…",
            }
        ),
        404: _NONE,
        **ERRORS,
    }
}
PHOTO: dict[str, Any] = {
    "responses": {200: example({"schema": "itemrec.inbox-photo/1", **_PHOTO, "label": _LABEL}), 404: _NONE, **ERRORS}
}
PICTURE: dict[str, Any] = {"responses": {404: _NONE, **ERRORS}}
LABELS: dict[str, Any] = {
    "responses": {200: example(_SAID), 404: _NONE, 413: error("Too many bytes."), 415: error("No JSON."), **ERRORS},
    "openapi_extra": described(LabelsBody),
}
FEEDBACK: dict[str, Any] = {
    "responses": {200: example(_SAID), 404: _NONE, 413: error("Too many bytes."), 415: error("No JSON."), **ERRORS},
    "openapi_extra": described(FeedbackBody),
}
UNDO: dict[str, Any] = {
    "responses": {200: example(_SAID), 404: _NONE, 413: error("Too many bytes."), 415: error("No JSON."), **ERRORS},
    "openapi_extra": described(UndoBody),
}
_SHARE = {"share": 0.81, "part": 174, "whole": 214, "interval": [0.75, 0.87]}
_WEEK = {"begins": "2026-11-23", "unknown": {**_SHARE, "share": 0.12, "part": 26}, "right": _SHARE}
_PRODUCT = {"product_id": "0012", "name": "Pear Conference", "link": "v1/pictures/0012/front.jpg?sig=…"}
QUALITY: dict[str, Any] = {
    "responses": {
        200: example(
            {
                "schema": "itemrec.inbox-quality/1",
                "weeks": [_WEEK],
                "all": _WEEK,
                "drift": [
                    {
                        "of": "unknown",
                        "drifted": True,
                        "since": "2026-11-21T08:12:00.000Z",
                        "before": 0.11,
                        "after": 0.37,
                        "photos": 812,
                        "evidence": 203_000.0,
                        "limit": 81_200.0,
                        "false_alarms": 0.01,
                    }
                ],
                "confusions": [
                    {
                        "said": _PRODUCT,
                        "shows": None,
                        "count": 4,
                        "photos": [{"photo": _PHOTO["photo"], "link": _PHOTO["link"]}],
                    }
                ],
                "never_found": {"total": 1, "products": [_PRODUCT]},
            }
        ),
        404: _NONE,
        **ERRORS,
    }
}
_GROUP = {
    "group": "known",
    "products": 40,
    "match_right": 120,
    "match_wrong": 4,
    "ambiguous_right": 30,
    "ambiguous_wrong": 6,
    "unknown": 8,
}
_TABLE = {"sure": 0.8, "in_catalog": 0.5, "groups": [_GROUP], "look_alikes": []}
_CALIBRATION = {
    "schema": "itemrec.job/1",
    "job": "9b1c0f3e5a7d2468",
    "action": "calibrate",
    "state": "done",
    "message": "",
    "result": {
        "schema": "itemrec.inbox-calibration/1",
        "known": 168,
        "unknown": 46,
        "left_out": 0,
        "before": _TABLE,
        "after": _TABLE,
        "index": ".itemrec",
    },
}
CALIBRATE: dict[str, Any] = {
    "responses": {
        202: example({**_CALIBRATION, "state": "running", "result": None}),
        404: _NONE,
        409: error("Another calibration is under way."),
        **ERRORS,
    }
}
CALIBRATION: dict[str, Any] = {"responses": {200: example(_CALIBRATION), 404: _NONE, **ERRORS}}
EXPORT: dict[str, Any] = {"responses": {404: _NONE, **ERRORS}}
