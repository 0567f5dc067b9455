"""Evaluation: gather photos, measure, one document.

    report = run.evaluate_dataset("data", gallery="train", calibrate_on="val")

or step by step (what is imported here opens no index by itself):

    photos = gather_folder(split_folder(data, "test"), bundle)
    gallery = gather_index(open_index(".itemrec"), bundle)
    document = evaluate(photos, gallery, Setting("test", str(data), "index", ".itemrec", bundle.identity,
                                                 calibration=bundle.calibration))

run         whole jobs in one call                        results     what they return
own_photos  a model in one line, to choose among models
photos      what is measured, with vectors and hashes     gather      from folders and indexes
gallery     what photos are compared with                 leakage     probes that the gallery holds too
answers     every probe answered, also as out-of-gallery  thresholds  which thresholds, chosen on what
calibrate   choose them on another split                  confidence_fit  how sure answers are
pairs, identification, open_set, confidence, served, …    the sections of the document
document    its shape, ``itemrec.evaluate/1``             summary     the sentence on top, the warnings
requirements  what must hold                              gate        before a generation goes live
compare     is the new model better                       numbers     how reports write them
"""

from retrieval.evaluation.calibrate import Calibrated, HeldOut, Target, calibrate
from retrieval.evaluation.confidence_fit import UNKNOWN_SHARE
from retrieval.evaluation.document import SCHEMA, EvaluationDoc
from retrieval.evaluation.evaluate import Setting, evaluate
from retrieval.evaluation.gather import gather_folder, gather_index, gather_store, split_folder
from retrieval.evaluation.photos import Photos
from retrieval.types import SPLITS

__all__ = [
    "SCHEMA",
    "SPLITS",
    "UNKNOWN_SHARE",
    "Calibrated",
    "EvaluationDoc",
    "HeldOut",
    "Photos",
    "Setting",
    "Target",
    "calibrate",
    "evaluate",
    "gather_folder",
    "gather_index",
    "gather_store",
    "split_folder",
]
