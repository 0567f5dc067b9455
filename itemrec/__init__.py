"""itemrec: which product is in this photo, how sure, or none of ours?

    import itemrec

    itemrec.index("catalog", "shop.index")
    with itemrec.Recognizer("shop.index") as shop:
        answer = shop.recognize("photo.jpg", top=5)
    print(answer.verdict, [match.product_id for match in answer.matches])

The public names, imported when they are first used; no logic lives here. `__all__` is pinned by a test, and
docs/api.md shows each of them.
"""

import sys as _sys
from importlib import import_module as _import_module
from os.path import basename as _basename
from typing import TYPE_CHECKING

from itemrec import _siblings

# `retrieval` is all that a library needs at once; `trainer` is asked for by what trains, `cli` by the command, so that
# a program with a `trainer/` or `cli/` of its own can recognize photos. The command comes through here before it could
# catch an error; it asks for all three by itself (itemrec.__main__) and answers without a traceback.
if _basename("".join(_sys.argv[:1])) not in ("-m", "itemrec", "itemrec.exe"):
    _siblings.require("retrieval")

if TYPE_CHECKING:
    from retrieval.audit import AuditReport as AuditReport
    from retrieval.audit import audit_catalog as audit
    from retrieval.catalog.columns import Reading as Reading
    from retrieval.errors import AccessDeniedError as AccessDeniedError
    from retrieval.errors import BundleError as BundleError
    from retrieval.errors import CatalogError as CatalogError
    from retrieval.errors import CheckFailedError as CheckFailedError
    from retrieval.errors import CollapseError as CollapseError
    from retrieval.errors import DiskFullError as DiskFullError
    from retrieval.errors import DownloadError as DownloadError
    from retrieval.errors import EncoderError as EncoderError
    from retrieval.errors import ImageError as ImageError
    from retrieval.errors import IndexBusyError as IndexBusyError
    from retrieval.errors import IndexDamagedError as IndexDamagedError
    from retrieval.errors import IndexNotFoundError as IndexNotFoundError
    from retrieval.errors import ItemrecError as ItemrecError
    from retrieval.errors import ModelMismatchError as ModelMismatchError
    from retrieval.errors import ModelNotFoundError as ModelNotFoundError
    from retrieval.errors import ServerError as ServerError
    from retrieval.errors import ServerUnreachableError as ServerUnreachableError
    from retrieval.errors import ServerUnsuitableError as ServerUnsuitableError
    from retrieval.errors import StoreError as StoreError
    from retrieval.errors import UsageError as UsageError
    from retrieval.evaluation.results import CalibrationReport as CalibrationReport
    from retrieval.evaluation.results import EvaluationReport as EvaluationReport
    from retrieval.evaluation.run import calibrate_model as calibrate
    from retrieval.evaluation.run import evaluate_dataset as evaluate
    from retrieval.indexing.report import IndexReport as IndexReport
    from retrieval.indexing.run import index as index
    from retrieval.recognition.answer import Answer as Answer
    from retrieval.recognition.answer import AnswerMatch as AnswerMatch
    from retrieval.recognition.api import Recognizer as Recognizer
    from retrieval.recognition.photo_source import PhotoSource as PhotoSource
    from retrieval.recognition.recognizer import RefusedPhoto as RefusedPhoto
    from retrieval.system.progress import Progress as Progress
    from retrieval.system.progress import Silent as Silent
    from trainer.prepare import PrepareReport as PrepareReport
    from trainer.prepare import prepare as prepare
    from trainer.report import TrainReport as TrainReport
    from trainer.train import train as train

__version__ = "0.1.0"

_HOMES = {
    "Answer": "retrieval.recognition.answer",
    "AnswerMatch": "retrieval.recognition.answer",
    "AuditReport": "retrieval.audit",
    "CalibrationReport": "retrieval.evaluation.results",
    "EvaluationReport": "retrieval.evaluation.results",
    "IndexReport": "retrieval.indexing.report",
    "PhotoSource": "retrieval.recognition.photo_source",
    "PrepareReport": "trainer.prepare",
    "Progress": "retrieval.system.progress",
    "Reading": "retrieval.catalog.columns",
    "Recognizer": "retrieval.recognition.api",
    "RefusedPhoto": "retrieval.recognition.recognizer",
    "Silent": "retrieval.system.progress",
    "TrainReport": "trainer.report",
    "audit": "retrieval.audit:audit_catalog",
    "calibrate": "retrieval.evaluation.run:calibrate_model",
    "evaluate": "retrieval.evaluation.run:evaluate_dataset",
    "index": "retrieval.indexing.run",
    "prepare": "trainer.prepare",
    "train": "trainer.train",
}
"""Where each name comes from: a module, and the name there where it is another one. What is not here is an error."""

__all__ = [
    "AccessDeniedError",
    "Answer",
    "AnswerMatch",
    "AuditReport",
    "BundleError",
    "CalibrationReport",
    "CatalogError",
    "CheckFailedError",
    "CollapseError",
    "DiskFullError",
    "DownloadError",
    "EncoderError",
    "EvaluationReport",
    "ImageError",
    "IndexBusyError",
    "IndexDamagedError",
    "IndexNotFoundError",
    "IndexReport",
    "ItemrecError",
    "ModelMismatchError",
    "ModelNotFoundError",
    "PhotoSource",
    "PrepareReport",
    "Progress",
    "Reading",
    "Recognizer",
    "RefusedPhoto",
    "ServerError",
    "ServerUnreachableError",
    "ServerUnsuitableError",
    "Silent",
    "StoreError",
    "TrainReport",
    "UsageError",
    "__version__",
    "audit",
    "calibrate",
    "evaluate",
    "index",
    "prepare",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'itemrec' has no attribute {name!r}")
    module, _, attribute = _HOMES.get(name, "retrieval.errors").partition(":")
    if module.startswith("trainer"):
        _siblings.require("trainer")
    value = getattr(_import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
