"""Every error itemrec raises on purpose.

    ItemrecError                  exit 3: something broke
    ├── UsageError                exit 2: wrong option, missing path, bad configuration
    │   ├── CatalogError          the folder or table cannot be read as a catalog
    │   └── ModelNotFoundError    no bundle under that name or path
    ├── ImageError                these bytes are not a picture we accept (carries a reason code)
    ├── BundleError               a bundle is damaged, incomplete or of an unknown format
    ├── EncoderError              the runtime refused the model or produced unusable vectors
    ├── DownloadError             a model could not be fetched or did not match its hash
    └── StoreError                an index or a dataset could not be read or written
        ├── IndexNotFoundError    exit 2: there is no committed index at that place
        ├── ModelMismatchError    exit 2: another model built this index
        ├── IndexBusyError        another process holds it
        ├── IndexDamagedError     what is on disk is not what was committed
        ├── ServerError           a Qdrant server answered that it cannot
        │   └── ServerUnreachableError   nobody listens, or nobody answers in time
        ├── AccessDeniedError     exit 2: the server wants another key
        ├── ServerUnsuitableError exit 2: no Qdrant server, or too old a one
        ├── CheckFailedError      exit 1: a new generation did not pass its gate; the old one stays
        └── DiskFullError         not enough free space to write safely

For values messages read "expected …, received …"; for the environment they say what
happened ("Disk full: cannot write in D"). The hint says what to do. Errors of other
libraries (runtime, engine, httpx, Pillow, OS) are mapped where they enter and keep
their `__cause__`.
"""

from __future__ import annotations

from typing import ClassVar


class ItemrecError(Exception):
    """Root of the tree.

    Attributes:
        message: one line: what was expected and what came, or what happened.
        hint: one line: what to do about it; may be empty.
        exit_code: what the command line exits with (2 wrong usage, 3 it broke).
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ItemrecError):
    """What the user typed, or a configuration file, cannot be carried out."""

    exit_code = 2


class CatalogError(UsageError):
    """The folder or table cannot be read as a catalog."""


class ModelNotFoundError(UsageError):
    """There is no bundle under that name or path."""


class ImageError(ItemrecError):
    """The bytes are not a picture we accept.

    Attributes:
        reason: a short stable code such as ``truncated``, ``too-many-pixels`` or ``unknown-format``.
    """

    exit_code = 2

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class BundleError(ItemrecError):
    """A bundle is damaged, incomplete or of an unknown format."""


class EncoderError(ItemrecError):
    """The runtime refused the model, or the model produced unusable vectors."""


class DownloadError(ItemrecError):
    """A model could not be fetched, or is not what its hash promised."""


class CollapseError(ItemrecError):
    """Training made all embeddings alike; going on would not part them again."""


class StoreError(ItemrecError):
    """An index or a dataset could not be read or written."""


class IndexNotFoundError(StoreError):
    """There is no committed index at that place."""

    exit_code = 2


class ModelMismatchError(StoreError):
    """The index was built by another model."""

    exit_code = 2


class IndexBusyError(StoreError):
    """Another process holds the index."""


class IndexDamagedError(StoreError):
    """What is on disk is not what was committed."""


class ServerError(StoreError):
    """A Qdrant server answered that it cannot do what was asked."""


class ServerUnreachableError(ServerError):
    """Nobody listens at the URL, or nobody answers in time."""


class AccessDeniedError(StoreError):
    """The server wants another key for this."""

    exit_code = 2


class ServerUnsuitableError(StoreError):
    """What answers is no Qdrant server, or too old a one."""

    exit_code = 2


class CheckFailedError(StoreError):
    """A new generation did not pass what was required of it; the old one stays live."""

    exit_code = 1


class DiskFullError(StoreError):
    """There is not enough free space to write safely."""
