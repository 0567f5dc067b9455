"""Tells a collapse, where all embeddings become one, from a slow start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from retrieval.errors import CollapseError

_NEAR = 0.1
"""Distances below this part of the loss's scale are no distances to it: a hinge is within 10 % of its margin."""

_FALLEN = 0.1
"""A collapse comes from somewhere: below this part of the widest so far."""

_SUNK = 0.05
"""Below this part of the widest so far, and with half of all triplets wrong, a run has lost what it had learned, also
where single pictures still stand out and keep the mean above the scale."""

_GROWTH = 1.1
"""Distances that grow by more than this over the patience are on their way out."""


class PairLog(Protocol):
    """Means over an epoch (or over some steps), as `trainer.losses.metrics.pair_metrics` gives them."""

    @property
    def epoch(self) -> int:
        """From 1."""

    @property
    def loss(self) -> float:
        """Of training."""

    @property
    def anchor_positive(self) -> float:
        """Squared L2 between pictures of one product."""

    @property
    def anchor_negative(self) -> float:
        """Squared L2 between pictures of different products."""

    @property
    def active_triplets(self) -> float | None:
        """Share of the triplets that break the margin; None counts as all."""

    @property
    def spread(self) -> float:
        """Total variance of the embeddings of a batch."""


@dataclass(slots=True)
class CollapseMonitor:
    """Watches the logs of a run; feed it each, also those before a resume.

    A hinge loss sits at its margin exactly when both distances are small beside the margin:
    ``|loss - margin| <= d(a, p) + d(a, n)``. So the monitor measures the widest of the three
    (to the own product, to others, twice the spread) against the loss's scale. It takes all of:

    - below a tenth of the scale, with nine in ten triplets active, in `patience` logs in a row;
    - below a tenth of the widest seen in this run;
    - not growing meanwhile, as a network does that starts close together and opens up.

    A run that was that close from its first log on, and so never fell, gets three times the patience; so does one that
    only sank: to a twentieth of its widest, with half of the triplets active, wherever the scale lies.

    Attributes:
        scale: the distance that the loss tells apart, `BuiltLosses.scale`; squared L2.
        patience: logs in a row, at least 2.
    """

    scale: float = 0.2
    patience: int = 3
    _widest: float = field(default=0.0, init=False)
    _close: list[float] = field(default_factory=list, init=False)
    _sunk: list[float] = field(default_factory=list, init=False)

    def check(self, log: PairLog) -> None:
        """Take the next log into account.

        Raises:
            CollapseError: the run has collapsed.
        """
        width = max(log.anchor_positive, log.anchor_negative, 2.0 * log.spread)
        self._widest = max(self._widest, width)
        active = 1.0 if log.active_triplets is None else log.active_triplets
        streaks = (
            (self._close, width <= _NEAR * self.scale and active >= 0.9, width <= _FALLEN * self._widest),
            (self._sunk, width <= _SUNK * self._widest and active >= 0.5, False),
        )
        for widths, holds, fast in streaks:
            if not holds:
                widths.clear()
                continue
            widths.append(width)
            patience = self.patience if fast else 3 * self.patience
            if len(widths) >= patience and width <= _GROWTH * widths[-patience]:
                self._stop(log, since=log.epoch - len(widths) + 1)

    def _stop(self, log: PairLog, *, since: int) -> NoReturn:
        raise CollapseError(
            f"expected products to move apart, received one embedding for all pictures: since epoch "
            f"{since} the loss stays at {log.loss:.3g} with a squared L2 of "
            f"{log.anchor_positive:.2g} within and {log.anchor_negative:.2g} between products "
            f"(at most {self._widest:.2g} before)",
            hint="train with the loss supcon+softmax or triplet-semi-hard, on unit vectors, in batches of "
            "16 products x 4 pictures; or lower the learning rate",
        )
