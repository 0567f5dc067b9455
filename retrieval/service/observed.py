"""What the service counts about itself, in the text format of Prometheus."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from retrieval.types import Verdict

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DAY = 86_400.0
"""Seconds that the share of unknown photos looks back."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_MINUTE = 60.0


class Observed:
    """Counters and histograms of one service. Thread-safe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin at zero.

        Args:
            clock: seconds, for tests.
        """
        self.registry = CollectorRegistry()
        self._clock = clock
        self._minutes: deque[tuple[int, int, int]] = deque()
        self._queries = Counter("itemrec_queries", "Photos answered, by verdict.", ["verdict"], registry=self.registry)
        self._refused = Counter(
            "itemrec_refused", "Requests and photos refused, by code.", ["code"], registry=self.registry
        )
        self._stages = Histogram(
            "itemrec_stage_seconds", "Seconds a photo, by stage.", ["stage"], buckets=_SECONDS, registry=self.registry
        )
        self._requests = Histogram(
            "itemrec_request_seconds",
            "Seconds a request, by route and status.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._images = Gauge("itemrec_index_images", "Pictures in the live generation.", registry=self.registry)
        self._products = Gauge("itemrec_index_products", "Products in the live generation.", registry=self.registry)
        self._generation = Gauge("itemrec_index_generation", "Number of the live generation.", registry=self.registry)
        self._busy = Gauge("itemrec_jobs_running", "Requests that are worked at or wait.", registry=self.registry)
        unknown = Gauge(
            "itemrec_unknown_share_day", "Share of unknown photos of the last 24 hours.", registry=self.registry
        )
        unknown.set_function(self.unknown_share)
        self._inbox = Gauge("itemrec_inbox_photos", "Photos in the inbox.", ["label"], registry=self.registry)
        self._inbox_bytes = Gauge("itemrec_inbox_bytes", "Bytes of its pictures.", registry=self.registry)
        self._inbox_waiting = Gauge(
            "itemrec_inbox_waiting", "Labels that the catalog does not follow yet.", registry=self.registry
        )
        self._drifted = Gauge(
            "itemrec_drift", "1 where answers have left their usual range.", ["of"], registry=self.registry
        )
        self._drifted_since = Gauge(
            "itemrec_drift_since_seconds",
            "Since when, seconds since 1970; 0 where they have not.",
            ["of"],
            registry=self.registry,
        )
        self._not_kept = Counter(
            "itemrec_inbox_not_kept", "Photos answered that could not be kept.", registry=self.registry
        )
        for verdict in ("match", "ambiguous", "unknown"):
            self._queries.labels(verdict)

    def answered(self, verdict: Verdict, timings_ms: Mapping[str, float]) -> None:
        """Count one answered photo."""
        self._queries.labels(verdict).inc()
        for stage, ms in timings_ms.items():
            self._stages.labels(stage).observe(ms / 1e3)
        minute, unknown = int(self._clock() // _MINUTE), int(verdict == "unknown")
        if self._minutes and self._minutes[-1][0] == minute:
            _, photos, before = self._minutes.pop()
            self._minutes.append((minute, photos + 1, before + unknown))
        else:
            self._minutes.append((minute, 1, unknown))

    def refused(self, code: str) -> None:
        """Count a photo or a request that was refused. ``code`` is one of a fixed set, never text from outside."""
        self._refused.labels(code).inc()

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(route, str(status)).observe(seconds)

    def index(self, *, images: int, products: int, generation: int) -> None:
        """Note what is live."""
        self._images.set(images)
        self._products.set(products)
        self._generation.set(generation)

    def inbox(self, *, photos: int, unlabeled: int, waiting: int, size: int) -> None:
        """Note what the inbox holds."""
        self._inbox.labels("yes").set(photos - unlabeled)
        self._inbox.labels("no").set(unlabeled)
        self._inbox_waiting.set(waiting)
        self._inbox_bytes.set(size)

    def drift(self, of: str, since: float | None) -> None:
        """Note whether answers have left their usual range, and since when, seconds since 1970."""
        self._drifted.labels(of).set(since is not None)
        self._drifted_since.labels(of).set(since or 0.0)

    def not_kept(self) -> None:
        """Count a photo that was answered and could not be kept."""
        self._not_kept.inc()

    def busy(self, jobs: int) -> None:
        """Note how much is under way."""
        self._busy.set(jobs)

    def unknown_share(self) -> float:
        """Unknown photos over all photos of the last 24 hours; NaN before the first."""
        oldest = int((self._clock() - DAY) // _MINUTE)
        while self._minutes and self._minutes[0][0] <= oldest:
            self._minutes.popleft()
        minutes = list(self._minutes)
        photos = sum(m[1] for m in minutes)
        return sum(m[2] for m in minutes) / photos if photos else float("nan")

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
