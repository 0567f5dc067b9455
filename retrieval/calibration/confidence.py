"""The confidence of an answer: the probability that its first match is right, fitted on photos not trained on.

A score is no probability. `Confidence` maps one number of an answer to one that held for the photos it was
fitted on: known products, and unknown ones as a stated part of all photos. Other photos, another
gallery or another share of unknown products move it; `itemrec evaluate` measures by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from retrieval.distance import MAX_DISTANCE
from retrieval.metrics.probability import ConfidenceMap, map_from_json
from retrieval.types import Match

Feature = Literal["score", "margin", "lead"]


def feature_value(feature: Feature, matches: Sequence[Match]) -> float:
    """One number of an answer, in [0, 1]; higher is surer.

    ``score`` is the winner's score, ``lead`` its distance to the runner-up's score (0 for none), ``margin``
    the lead as a part of the winner's score.

    Args:
        matches: at least one, best first; the first two decide.
    """
    first = matches[0].score
    second = matches[1].score if len(matches) > 1 else 0.0
    if feature == "score":
        return first
    return first - second if feature == "lead" else 1.0 - second / first


@dataclass(frozen=True, slots=True)
class Confidence:
    """A fitted map from an answer to the probability that its first match is right.

    Attributes:
        feature: which number of the answer it takes.
        map: number -> probability.
        threshold: the threshold (squared L2) that the answers were given at; it holds for no other.
        fitted_on: which photos.
        answers: how many answers it was fitted on.
        strangers: the part of all photos tried that were out-of-gallery probes: of unknown products.
    """

    feature: Feature
    map: ConfidenceMap
    threshold: float
    fitted_on: str = ""
    answers: int = 0
    strangers: float = 0.0

    def __post_init__(self) -> None:
        if self.feature not in get_args(Feature):
            raise ValueError(f"expected one of {', '.join(get_args(Feature))}, received {self.feature!r}")
        if not 0.0 <= self.threshold <= MAX_DISTANCE:
            raise ValueError(f"expected a threshold (squared L2) in [0, 4], received {self.threshold}")
        if not 0.0 <= self.strangers <= 1.0 or self.answers < 0:
            raise ValueError(
                "expected a share of unknown products in [0, 1] and no negative count, "
                f"received {self.strangers} and {self.answers}"
            )

    def of(self, matches: Sequence[Match]) -> float | None:
        """The probability that the first match is right; None without a match."""
        if not matches:
            return None
        return float(self.map(np.array([feature_value(self.feature, matches)]))[0])

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {
            "feature": self.feature,
            "map": self.map.to_json(),
            "threshold": self.threshold,
            "fitted_on": self.fitted_on,
            "answers": self.answers,
            "strangers": self.strangers,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Confidence:
        """Read what `to_json` wrote; raises ValueError, TypeError or KeyError on anything else."""
        answers, fitted_on = data.get("answers", 0), data.get("fitted_on", "")
        if type(answers) is not int or not isinstance(fitted_on, str):
            raise ValueError(f"expected a count of answers and text, received {answers!r} and {fitted_on!r}")
        return cls(
            data["feature"],
            map_from_json(data["map"]),
            float(data["threshold"]),
            fitted_on,
            answers,
            float(data.get("strangers", 0.0)),
        )
