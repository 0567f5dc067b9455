"""A model file that nobody trusts, tried in a child process: what kills it, hangs it or eats memory costs the trial."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from retrieval import errors
from retrieval.errors import EncoderError, ItemrecError
from retrieval.images.preprocessing import Preprocessing
from retrieval.models.bundle import Pool, Readout
from retrieval.models.input_presets import Choices
from retrieval.models.inspection import Inspection, inspect_model
from retrieval.models.runtimes.base import Runtime, Tensor
from retrieval.system.child import ALARM, can_start, command, end_after, limit_memory

SECONDS = 300.0
"""Longest that a trial may take. A model of 2 GiB takes seconds to open, and ten pictures."""

MEMORY = 8 << 30
"""Address space of the child, bytes, beside `A_BYTE` times the file."""

A_BYTE = 8
"""The runtimes hold a file, its weights, and these once more as their kernels want them."""

_GRACE = 5
_LARGEST_ANSWER = 1 << 20


def try_model(
    file: Path,
    runtime: Runtime,
    *,
    choices: Choices | None = None,
    output: int | str | None = None,
    pool: Pool | None = None,
    seconds: float = SECONDS,
    memory: int = MEMORY,
    program: str = __name__,
) -> Inspection:
    """As `retrieval.models.inspection.inspect_model`, in a child process with limits.

    Args:
        file: the model.
        runtime: which runtime runs it.
        choices: its preprocessing, as far as the file does not say it.
        output: index or name of the output to read.
        pool: how an output becomes one vector.
        seconds: see `SECONDS`.
        memory: see `MEMORY`.
        program: the module whose ``main`` the child runs.

    Raises:
        UsageError, EncoderError: as there; also where the child did not survive the model.
    """
    if not can_start():
        return inspect_model(file, runtime, choices=choices, output=output, pool=pool)
    request = {
        "file": str(file),
        "runtime": runtime,
        "choices": asdict(choices or Choices()),
        "output": output,
        "pool": pool,
        "seconds": int(seconds) + _GRACE,
        "memory": memory + A_BYTE * file.stat().st_size,
    }
    try:
        done = subprocess.run(
            command(program, **request),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _hung(seconds) from error
    except OSError as error:
        raise ItemrecError(
            f"Cannot start the process that tries models: {error.strerror or error}",
            hint="Check the limits on processes and memory.",
        ) from error
    try:
        answer = json.loads(done.stdout[:_LARGEST_ANSWER])
        refused = answer.get("error")
        if refused is None:
            return _from_json(answer)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if done.returncode == ALARM:
            raise _hung(seconds) from error
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise EncoderError(
            f"expected a model that its runtime survives, received one that it died of ({how})",
            hint="Export the model again; it is damaged, or means no good.",
        ) from error
    kind = getattr(errors, str(refused["kind"]), EncoderError)
    raise kind(str(refused["message"]), hint=str(refused["hint"]))


def _hung(seconds: float) -> EncoderError:
    return EncoderError(
        f"expected a model that embeds ten pictures within {seconds:g} seconds, received one that takes longer",
        hint="Choose a smaller model, or export it again.",
    )


def main(
    *, file: str, runtime: Runtime, choices: dict[str, Any], output: int | str | None, pool: Pool | None,
    seconds: int, memory: int,
) -> None:  # fmt: skip
    """The child: inspect a model and answer with one JSON object on standard output."""
    answers = os.dup(1)
    # What a runtime prints must not get among the answer.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    limit_memory(memory)
    end_after(seconds)
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in choices.items()}
    try:
        answer = asdict(inspect_model(Path(file), runtime, choices=Choices(**values), output=output, pool=pool))
        answer["preprocessing"] = Preprocessing(**answer["preprocessing"]).to_json()
    except ItemrecError as error:
        kind = type(error).__name__
        answer = {"error": {"kind": kind, "message": error.message, "hint": error.hint}}
    except MemoryError:
        answer = {
            "error": {
                "kind": "EncoderError",
                "message": f"expected a model that takes at most {memory >> 20:,} MiB of memory, received a larger one",
                "hint": "Choose a smaller model.",
            }
        }
    with os.fdopen(answers, "w", encoding="utf-8") as stream:
        json.dump(answer, stream)
    # Not through the runtime's own end: a model may have left threads that never stop.
    os._exit(0)


def _from_json(data: dict[str, Any]) -> Inspection:
    runtime = data["runtime"]
    if runtime not in get_args(Runtime):
        raise ValueError(f"expected a runtime, received {runtime!r}")
    return Inspection(
        runtime=runtime,
        preprocessing=Preprocessing.from_json(data["preprocessing"]),
        readout=Readout(**data["readout"]),
        dimension=int(data["dimension"]),
        input=_tensor(data["input"]),
        output=_tensor(data["output"]),
    )


def _tensor(data: dict[str, Any]) -> Tensor:
    return Tensor(str(data["name"]), tuple(data["shape"]), str(data["dtype"]))
