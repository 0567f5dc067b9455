"""What `import itemrec` promises: these names, no others, imported when they are used, without TensorFlow."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys

import pytest

import itemrec
import retrieval.errors
from tests.places import ROOT

NAMES = {
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
}


def test_the_public_names() -> None:
    assert sorted(itemrec.__all__) == sorted(NAMES)
    assert dir(itemrec) == sorted(itemrec.__all__)
    for name in NAMES:
        value = getattr(itemrec, name)
        assert value is not None
        if name != "__version__":
            assert inspect.getdoc(value), name


def test_every_error_is_public() -> None:
    ours = {
        name
        for name, value in vars(retrieval.errors).items()
        if inspect.isclass(value) and issubclass(value, retrieval.errors.ItemrecError)
    }
    assert ours <= set(itemrec.__all__)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "itemrec" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {
        alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen | {"__version__"} == set(itemrec.__all__)


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="recognise"):
        itemrec.recognise  # noqa: B018


def test_nothing_heavy_is_imported_for_the_names() -> None:
    code = """
import sys, itemrec
print(sorted({"numpy", "PIL", "retrieval.recognition"} & set(sys.modules)))
for names in ((), ("Recognizer", "index"), ("train", "prepare")):
    for name in names:
        getattr(itemrec, name)
    print(sorted({"tensorflow", "keras", "typer", "cli"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["[]"] * 4
