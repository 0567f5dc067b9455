"""Calibrations that a service was asked for: jobs, one at a time."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

from retrieval.errors import ItemrecError
from retrieval.inbox.confirmed import calibrate_confirmed
from retrieval.inbox.inbox import Inbox
from retrieval.service.problems import Problem
from retrieval.service.settings import Settings

_KEPT = 20
_log = logging.getLogger("itemrec.serve")


@dataclass(slots=True)
class CalibrationJob:
    """One calibration.

    Attributes:
        id: names it.
        state: how far it is.
        message: why it failed; empty otherwise.
        result: the ``itemrec.inbox-calibration/1`` document, when it is done.
    """

    id: str
    state: Literal["running", "done", "failed"] = "running"
    message: str = ""
    result: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """The ``itemrec.job/1`` document."""
        return {
            "schema": "itemrec.job/1",
            "job": self.id,
            "action": "calibrate",
            "state": self.state,
            "message": self.message,
            "result": self.result,
        }


class Calibrating:
    """Runs them. Thread-safe."""

    def __init__(self, inbox: Inbox, settings: Settings) -> None:
        """Begin with none.

        Args:
            inbox: whose confirmed photos are used.
            settings: name the index and its model.
        """
        self._inbox = inbox
        self._settings = settings
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, CalibrationJob] = OrderedDict()

    def begin(self, *, dry: bool) -> CalibrationJob:
        """Begin one.

        Args:
            dry: only say what it would do.

        Raises:
            Problem: 409 while another is under way.
        """
        with self._lock:
            if any(job.state == "running" for job in self._jobs.values()):
                raise Problem(409, "under-way", "A calibration is under way already", hint="Ask for its job.")
            job = CalibrationJob(secrets.token_hex(8))
            self._jobs[job.id] = job
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
        threading.Thread(target=self._run, args=(job, dry), name="itemrec-calibrate", daemon=True).start()
        return job

    def job(self, ident: str) -> CalibrationJob:
        """One by its id.

        Raises:
            Problem: 404 when there is none, or it was long ago.
        """
        with self._lock:
            found = self._jobs.get(ident)
        if found is None:
            raise Problem(404, "no-job", "expected the id of a job, received one that is not known")
        return found

    def _run(self, job: CalibrationJob, dry: bool) -> None:
        try:
            found = calibrate_confirmed(self._inbox, self._settings.index, model=self._settings.model, dry=dry)
        except ItemrecError as error:
            job.message, job.state = error.message, "failed"
        except Exception as error:  # noqa: BLE001 (whoever asks for the job must not wait for ever)
            _log.warning("A calibration broke", exc_info=error)
            job.message, job.state = f"something unexpected broke: {type(error).__name__}", "failed"
        else:
            job.result, job.state = found.to_json(), "done"
