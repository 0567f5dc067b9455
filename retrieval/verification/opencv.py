"""OpenCV, imported when it is needed, or one line that says how to get it."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType

from retrieval.errors import UsageError
from retrieval.system.installation import install_hint, missing


def available() -> bool:
    """Whether OpenCV is installed; importing it is left for when it is needed."""
    return find_spec("cv2") is not None


def opencv(purpose: str = "a closer look at photos") -> ModuleType:
    """OpenCV.

    Args:
        purpose: what needs it, for the message.

    Raises:
        UsageError: it is not installed, or cannot be loaded.
    """
    try:
        import cv2
    except ImportError as error:
        raise UsageError(missing("OpenCV", purpose, error), hint=install_hint("verify")) from error
    # One look is short, and many run side by side: threads of its own would only wait for each other.
    cv2.setNumThreads(1)
    return cv2
