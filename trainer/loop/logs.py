"""What a training writes while it runs: TensorBoard scalars, and the same as JSON lines.

Both lie in one folder, the run directory: ``events.out.tfevents.*`` for ``tensorboard --logdir`` and
``log.jsonl`` for everything else. TensorBoard's own record writer and messages are used without
TensorFlow, which they do not need.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from retrieval.errors import ItemrecError, UsageError
from retrieval.system.files import replace_file
from retrieval.system.installation import install_hint, missing
from retrieval.system.text import printable
from trainer.progress import EpochLog

LOG = "log.jsonl"
_EVENTS = "events.out.tfevents."


_VALIDATION = frozenset({"val_at_far", "r_at_1"})
_OPTIONAL = frozenset(field.name for field in fields(EpochLog) if field.default is None)
_VALUES = tuple(field.name for field in fields(EpochLog) if field.name != "epoch")


class ScalarLog:
    """The log of one training; a context manager.

    A training that was killed and goes on after epoch k opens its log again with ``after=k``: what was
    logged of later epochs is dropped, so that no epoch is there twice. ``after=0`` begins anew.
    Log an epoch before its checkpoint is written: then a kill in between repeats the epoch instead of
    leaving it out.
    """

    def __init__(self, folder: Path, *, after: int = 0) -> None:
        """Open the log.

        Args:
            folder: the run directory, made if missing; one for each training.
            after: the last epoch that stays.

        Raises:
            ItemrecError: TensorBoard is not installed, or the log that is there is not one of ours.
            UsageError: the folder cannot be written.
        """
        try:
            from tensorboard.compat.proto import event_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise missing_tensorboard(error) from error
        self.folder = folder
        self._messages = event_pb2
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lines = [_line(log) for log in read_log(folder) if log.epoch <= after]
            replace_file(folder / LOG, "".join(self._lines).encode())
            self._records = RecordWriter((folder / _next_name(folder)).open("xb"))
            self._event(file_version="brain.Event:2")
            # TensorBoard's word for "whatever earlier files say of this step and later ones no longer holds".
            restart = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._event(step=after + 1, session_log=restart)
            self._records.flush()

    def epoch(self, log: EpochLog) -> None:
        """Log an epoch. A kill during the call leaves whole lines only: with this epoch, or without it.

        Raises:
            UsageError: the folder cannot be written any more.
        """
        from tensorboard.compat.proto import summary_pb2

        values = [
            summary_pb2.Summary.Value(tag=_tag(name), simple_value=value)
            for name in _VALUES
            if (value := getattr(log, name)) is not None
        ]
        self._lines.append(_line(log))
        with writable(self.folder):
            replace_file(self.folder / LOG, "".join(self._lines).encode())
            self._event(step=log.epoch, summary=summary_pb2.Summary(value=values))
            self._records.flush()

    def close(self) -> None:
        """Close the event file."""
        self._records.close()

    def _event(self, **content: Any) -> None:
        self._records.write(self._messages.Event(wall_time=time.time(), **content).SerializeToString())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_log(folder: Path) -> list[EpochLog]:
    """What `ScalarLog` wrote into a run directory, in order; empty when there is no log.

    Raises:
        ItemrecError: the log cannot be read, or is not one.
    """
    file = folder / LOG
    try:
        return [_parse(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ItemrecError(
            f"expected the log of a training in {printable(file)}, received: {error}",
            hint="Move that file away, or name another run directory.",
        ) from error


def missing_tensorboard(error: ImportError) -> ItemrecError:
    """The error for a machine without the package."""
    return ItemrecError(
        missing("TensorBoard", "the log of a training", error),
        hint=install_hint("train"),
    )


def _tag(name: str) -> str:
    return f"{'validation' if name in _VALIDATION else 'training'}/{name}"


def _line(log: EpochLog) -> str:
    # JSON has no NaN; a loss that is none is what one looks for in a log.
    values = {k: v if v is None or math.isfinite(v) else None for k, v in asdict(log).items()}
    return json.dumps(values, allow_nan=False) + "\n"


def _parse(line: str) -> EpochLog:
    values = json.loads(line)
    if not isinstance(values["epoch"], int) or not all(isinstance(values[n], int | float | None) for n in _VALUES):
        raise TypeError(f"a line of other values than numbers: {line[:80]}")
    missing = {name: math.nan for name in _VALUES if values[name] is None and name not in _OPTIONAL}
    return EpochLog(epoch=values["epoch"], **{name: values[name] for name in _VALUES} | missing)


def _next_name(folder: Path) -> str:
    """A name behind those of all earlier event files: TensorBoard reads a run's files in order of their names."""
    earlier = [name.name.removeprefix(_EVENTS).split(".")[0] for name in folder.glob(f"{_EVENTS}*")]
    newest = max((int(stamp) for stamp in earlier if stamp.isdecimal()), default=0)
    return f"{_EVENTS}{max(int(time.time()), newest + 1):010d}.{socket.gethostname()}.{os.getpid()}.0"


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Say in one line why a run directory cannot be written; raises UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"The logs of the training cannot be written to {printable(folder)}: {error.strerror or error}",
            hint="Name another one, or make room.",
        ) from error
