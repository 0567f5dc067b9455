"""Many pictures become vectors: in order, in threads, a bounded number at a time, refusals as values.

    for result in embed_pictures(files, bundle, look):
        if isinstance(result, Refused):
            print(result.item, result.error.message)
        else:
            use(result.item, result.vector)

What a picture is read from, and what else is measured of it, is the caller's: a `Look`. Reading, decoding and
the network release the GIL, so that threads overlap.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import EncoderError, ImageError
from retrieval.models.bundle import Bundle
from retrieval.models.encoder import Encoder, load_encoder
from retrieval.system.threads import default_threads, ordered_map

T = TypeVar("T")
F = TypeVar("F")

_AHEAD = 4
"""Batches a thread that may wait to be taken: they bound the memory of a run, whatever its length."""


# Plain classes: a cold query would feel the making of dataclasses.
class Look(Generic[F]):
    """What one look at a picture gave.

    Attributes:
        facts: whatever the caller wants to know beside the vector.
        pixels: the prepared picture, uint8, shape (height, width, 3); None where it need not be embedded.
    """

    __slots__ = ("facts", "pixels")

    def __init__(self, facts: F, pixels: NDArray[np.uint8] | None) -> None:
        self.facts = facts
        self.pixels = pixels


class Embedded(Generic[T, F]):
    """A picture that was looked at.

    Attributes:
        item: what was asked for.
        facts: see `Look`.
        vector: its unit vector, float32, shape (d,); None where it was not to be embedded.
        embed_ms: its share of the network's time, in ms.
    """

    __slots__ = ("embed_ms", "facts", "item", "vector")

    def __init__(self, item: T, facts: F, vector: NDArray[np.float32] | None, embed_ms: float = 0.0) -> None:
        self.item = item
        self.facts = facts
        self.vector = vector
        self.embed_ms = embed_ms


class Refused(Generic[T]):
    """A picture that cannot be read, or that the model cannot embed.

    Attributes:
        item: what was asked for.
        error: why.
    """

    __slots__ = ("error", "item")

    def __init__(self, item: T, error: ImageError | EncoderError) -> None:
        self.item = item
        self.error = error


class EncoderPool:
    """Encoders of one model for any number of threads: each is lent to one at a time and used again."""

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        """Name a model; an encoder is loaded when one is needed and none is free.

        Args:
            bundle: the model.
            threads: how many threads one call of an encoder may use.
        """
        self.bundle = bundle
        self._threads = threads
        self._free: list[Encoder] = []
        self._lock = threading.Lock()

    @contextmanager
    def lend(self) -> Iterator[Encoder]:
        """An encoder that is nobody else's until the context ends; raises EncoderError."""
        with self._lock:
            encoder = self._free.pop() if self._free else None
        if encoder is None:
            encoder = load_encoder(self.bundle, threads=self._threads)
        try:
            yield encoder
        finally:
            with self._lock:
                self._free.append(encoder)


def embed_pictures(
    items: Iterable[T],
    bundle: Bundle,
    look: Callable[[T], Look[F]],
    *,
    threads: int | None = None,
    batch: int = 1,
    alone: bool = False,
    encoders: EncoderPool | None = None,
) -> Iterator[Embedded[T, F] | Refused[T]]:
    """Look at pictures and embed them.

    When the caller stops, so do the threads.

    Args:
        items: the pictures, in whatever form ``look`` takes; read as they are needed, in the caller's thread.
        bundle: the model.
        look: reads one picture, in a worker's thread; its `ImageError` refuses that picture alone.
        threads: worker threads; default one per core.
        batch: how many pictures a worker takes at a time and the network sees at once.
        alone: when the network fails on a batch, try its pictures one by one and refuse those it fails on;
            otherwise its failure ends the run.
        encoders: lends the encoders, for callers that embed again and again. Without, a single picture (of
            ``items`` whose length is known) gets every thread inside the network, many get one each.

    Yields:
        A result for each item, in the order of the items.

    Raises:
        EncoderError: the runtime is not installed, or the network failed (see ``alone``).
    """
    cores = threads or default_threads()
    workers = min(cores, len(items)) if isinstance(items, Sized) else cores
    if workers == 0:
        return
    single = isinstance(items, Sized) and workers == 1
    pool = encoders or EncoderPool(bundle, threads=cores if single else 1)

    def work(part: Sequence[T]) -> list[Embedded[T, F] | Refused[T]]:
        return _embed(part, look, pool, alone)

    parts = _batches(items, batch)
    for results in map(work, parts) if single else ordered_map(work, parts, workers, ahead=_AHEAD):
        yield from results


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while part := list(islice(source, size)):
        yield part


def _embed(
    items: Sequence[T], look: Callable[[T], Look[F]], pool: EncoderPool, alone: bool
) -> list[Embedded[T, F] | Refused[T]]:
    looks: list[Look[F] | ImageError] = []
    for item in items:
        try:
            looks.append(look(item))
        except ImageError as error:
            looks.append(error)
    pixels = [seen.pixels for seen in looks if isinstance(seen, Look) and seen.pixels is not None]
    vectors: Iterator[NDArray[np.float32] | EncoderError] = iter(())
    each_ms = 0.0
    if pixels:
        with pool.lend() as encoder:
            start = time.perf_counter()
            try:
                vectors = iter(encoder.encode(np.stack(pixels)))
            except EncoderError:
                if not alone:
                    raise
                vectors = iter([_one(picture, encoder) for picture in pixels])
            each_ms = (time.perf_counter() - start) * 1e3 / len(pixels)
    results: list[Embedded[T, F] | Refused[T]] = []
    for item, seen in zip(items, looks, strict=True):
        if isinstance(seen, ImageError):
            results.append(Refused(item, seen))
        elif seen.pixels is None:
            results.append(Embedded(item, seen.facts, None))
        elif isinstance(vector := next(vectors), EncoderError):
            results.append(Refused(item, vector))
        else:
            results.append(Embedded(item, seen.facts, vector, each_ms))
    return results


def _one(pixels: NDArray[np.uint8], encoder: Encoder) -> NDArray[np.float32] | EncoderError:
    try:
        vector: NDArray[np.float32] = encoder.encode(pixels[np.newaxis])[0]
    except EncoderError as error:
        return error
    return vector
