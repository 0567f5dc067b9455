"""Photos in, unit vectors out: the `Encoder` protocol and the light runtimes behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import EncoderError
from retrieval.images.preprocessing import Preprocessing
from retrieval.models.bundle import Bundle, Pool, Readout
from retrieval.models.runtimes.base import Network
from retrieval.models.runtimes.open import open_network

if TYPE_CHECKING:
    from retrieval.models.projection import Projection


class Encoder(Protocol):
    """An embedding model ready to run. One instance per thread; instances are cheap beside the model."""

    @property
    def dimension(self) -> int:
        """Length d of its vectors."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """What it expects of its input."""
        ...

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures that `retrieval.images.pictures` prepared.

        Args:
            pixels: RGB, uint8, shape (n, height, width, 3), n >= 1.

        Returns:
            Unit vectors, float32, shape (n, d).

        Raises:
            EncoderError: the runtime failed, or a vector is not finite or has norm 0.
        """
        ...


def load_encoder(bundle: Bundle, *, threads: int = 1) -> Encoder:
    """Open a bundle's network for one thread.

    Load one encoder for each thread that encodes: an instance must not be shared, but instances
    in different threads run at the same time, because the runtimes release the GIL.

    Args:
        bundle: a bundle that `retrieval.models.bundle.read_bundle` verified.
        threads: how many threads one call may use.

    Raises:
        EncoderError: the runtime is not installed or refuses the network.
        BundleError: the projection behind it cannot be read.
    """
    return NetworkEncoder(
        open_network(bundle.encoder_file, bundle.runtime, threads=threads),
        preprocessing=bundle.preprocessing,
        dimension=bundle.dimension,
        readout=bundle.readout,
        projection=bundle.projection(),
    )


class NetworkEncoder:
    """A network with its preprocessing before it; pooling, a projection if any, and normalization behind it."""

    def __init__(
        self,
        network: Network,
        *,
        preprocessing: Preprocessing,
        dimension: int,
        readout: Readout,
        projection: Projection | None = None,
    ) -> None:
        self._network = network
        self._projection = projection
        self._features = dimension if projection is None else len(projection.mean)
        self._preprocessing = preprocessing
        self._dimension = dimension
        self._readout = readout
        self._chunk = 1 if readout.one_by_one else network.chunk
        if len(network.inputs) != 1:
            raise EncoderError(
                f"expected a network with one input, the picture, received {len(network.inputs)}",
                hint="Import the model again.",
            )
        if readout.output >= len(network.outputs):
            raise EncoderError(
                f"expected a network with an output {readout.output}, received {len(network.outputs)} outputs",
                hint="Import the model again.",
            )

    @property
    def dimension(self) -> int:
        """Length d of its vectors."""
        return self._dimension

    @property
    def preprocessing(self) -> Preprocessing:
        """What it expects of its input."""
        return self._preprocessing

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed prepared pictures; see `Encoder.encode`."""
        expected = (self._preprocessing.height, self._preprocessing.width, 3)
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or len(pixels) == 0 or pixels.shape[1:] != expected:
            raise EncoderError(
                f"expected uint8 pixels of shape (n, {', '.join(map(str, expected))}) with n >= 1, "
                f"received {pixels.dtype.name} of shape {pixels.shape}"
            )
        raw = np.empty((len(pixels), self._features), dtype=np.float32)
        for start in range(0, len(pixels), self._chunk):
            stop = min(start + self._chunk, len(pixels))
            x = self._preprocessing.tensor(pixels[start:stop])
            y = pooled(self._network.run(x, self._readout.output), self._readout.pool, self._preprocessing)
            if y.shape != (stop - start, self._features):
                raise EncoderError(
                    f"expected {stop - start} vectors of {self._features} values from the network, "
                    f"received an array of shape {y.shape}",
                    hint="Import the model again.",
                )
            raw[start:stop] = y
        vectors = _unit_rows(raw)
        return vectors if self._projection is None else _unit_rows(self._projection(vectors))


def pooled(y: NDArray[np.float32], pool: Pool, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """One row for each picture out of whatever the network gave.

    Args:
        y: shape (n, ...).
        pool: see `retrieval.models.bundle.Readout`.
        preprocessing: its layout says where an output of rank 4 has its channels.

    Raises:
        EncoderError: the pooling does not fit the shape.
    """
    rows = y.reshape(y.shape[0], -1) if y.ndim >= 1 and y.size else y
    if pool == "flatten" or (pool == "none" and y.ndim >= 2 and rows.shape[1] == max(y.shape[1:])):
        return rows
    if pool == "cls" and y.ndim == 3:
        return y[:, 0, :]
    if pool == "mean" and y.ndim == 3:
        return _mean(y, (1,))
    if pool == "mean" and y.ndim == 4:
        return _mean(y, (2, 3) if preprocessing.layout == "NCHW" else (1, 2))
    raise EncoderError(
        f"expected an output that pool {pool!r} makes vectors of, received one of shape {y.shape}",
        hint="Choose another --pool (cls or mean for tokens, mean or flatten for a map) or another --output.",
    )


def _mean(y: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = y.mean(axis=axes, dtype=np.float64).astype(np.float32)
    return mean


def _unit_rows(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    # In float64 the squares of float32 values neither overflow nor vanish.
    rows = raw.astype(np.float64)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0.0))
    if bad.size:
        what = "norm 0" if norms[bad[0]] == 0.0 else "values that are not finite"
        raise EncoderError(
            f"expected a vector with a direction for every picture, received {what} in row {bad[0]}"
            + (f" and {bad.size - 1} further rows" if bad.size > 1 else "")
            + f" of {len(raw)}",
            hint="The model cannot embed this picture, or its preprocessing is not the one it was trained with.",
        )
    unit: NDArray[np.float32] = (rows / norms[:, None]).astype(np.float32)
    return unit
