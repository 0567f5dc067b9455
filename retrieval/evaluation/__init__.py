"""Evaluation: gather photos, measure, one document.

    photos = gather_folder(split_folder(data, "test"), bundle)
    gallery = gather_index(open_index(".itemrec"), bundle)
    document = evaluate(photos, gallery, Setting("test", str(data), "index", ".itemrec", bundle.identity,
                                                 calibration=bundle.calibration))

photos      what is measured, with vectors and hashes     gather      from folders and indexes
exclude     probes that would flatter                     recognize   every probe answered, also as a stranger
thresholds  which thresholds, chosen on what              calibrate   choose them on another split
pairs, naming, strangers, trust                           the sections of the document
document    its shape, ``itemrec.evaluate/1``             summary     the sentence on top, the warnings
"""

from retrieval.evaluation.calibrate import Calibrated, Strangers, Target, calibrate
from retrieval.evaluation.document import SCHEMA, EvaluationDoc
from retrieval.evaluation.evaluate import Setting, evaluate
from retrieval.evaluation.fit import STRANGERS
from retrieval.evaluation.gather import gather_folder, gather_index, gather_store, split_folder
from retrieval.evaluation.photos import Photos
from retrieval.types import SPLITS

__all__ = [
    "SCHEMA",
    "SPLITS",
    "STRANGERS",
    "Calibrated",
    "EvaluationDoc",
    "Photos",
    "Setting",
    "Strangers",
    "Target",
    "calibrate",
    "evaluate",
    "gather_folder",
    "gather_index",
    "gather_store",
    "split_folder",
]
