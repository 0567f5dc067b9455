"""How this installation is called, and what to say when a package is not installed: which one, and what brings it.

itemrec is installed from its source, so the command depends on where that lies and what it was installed with.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from retrieval.system.text import printable

_IN_SOURCE = ", in the folder of itemrec's source"


def missing(package: str, purpose: str, error: ImportError | None = None) -> str:
    """One line: the package is not installed, or is but cannot be loaded, and what needs it.

    Args:
        package: its name as its makers write it.
        purpose: what needs it, such as "an .onnx model".
        error: what importing it raised.
    """
    if error is None or isinstance(error, ModuleNotFoundError):
        return f"{package} is not installed; {purpose} needs it"
    return f"{package}, which {purpose} needs, cannot be loaded: {printable(str(error))}"


def install_hint(extra: str = "") -> str:
    """One line: the command that installs itemrec again, with an extra.

    Args:
        extra: as in pyproject.toml; empty where a base dependency is missing.
    """
    source, editable = _source()
    brackets = f"[{extra}]" if extra else ""
    wanted = f"itemrec{brackets} @ {source}" if "://" in source else f"{source}{brackets}"
    command = shlex.join([*_installer(), *(["-e"] if editable else []), wanted])
    return f"Install it{_IN_SOURCE if source == '.' else ''}: {command}"


def package_hint(package: str, *, again: bool = False) -> str:
    """One line: the command that installs a package beside itemrec.

    Args:
        package: its name in the package index.
        again: it is there, but not as its makers published it.
    """
    prefix = Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        # uv makes the tool's environment anew, from what it was made of before and what comes with it now.
        source, editable = _source()
        where = f"itemrec @ {source}" if "://" in source else source
        words = ["uv", "tool", "install", *(["-e"] if editable else []), where, "--with", package]
        words += ["--reinstall-package", package] if again else []
        return f"Install it{_IN_SOURCE if source == '.' else ''}: {shlex.join(words)}"
    if (prefix / "pipx_metadata.json").is_file():
        return f"Install it: {shlex.join(['pipx', 'inject', *(['--force'] if again else []), 'itemrec', package])}"
    return f"Install it: {shlex.join([*_installer(), *(['--force-reinstall'] if again else []), package])}"


def program() -> str:
    """The words by which this shell, in this directory, runs this installation's `itemrec`."""
    script = Path(sys.executable).parent / "itemrec"
    found = shutil.which("itemrec")
    if found is not None and os.path.realpath(found) == os.path.realpath(script):
        return "itemrec"
    if script.is_file():
        with suppress(ValueError):
            script = script.relative_to(Path.cwd())
        return shlex.quote(str(script))
    return shlex.join([sys.executable or "python3", "-m", "itemrec"])


def _installer() -> list[str]:
    """The words that install into the environment of this Python."""
    prefix = Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        return ["uv", "tool", "install", "--force"]
    if (prefix / "pipx_metadata.json").is_file():
        return ["pipx", "install", "--force"]
    pip = shutil.which("pip")
    if pip is not None and os.path.dirname(pip) == os.path.dirname(sys.executable):
        return ["pip", "install"]
    return [sys.executable or "python3", "-m", "pip", "install"]


def _source() -> tuple[str, bool]:
    """Where itemrec was installed from, as a path or an address, and whether its source is used in place."""
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    with suppress(PackageNotFoundError, OSError, ValueError, KeyError, TypeError, AttributeError):
        origin = json.loads(distribution("itemrec").read_text("direct_url.json") or "{}")
        url, editable = str(origin["url"]), bool(origin.get("dir_info", {}).get("editable"))
        parts = urlsplit(url)
        if parts.scheme == "file" and "dir_info" in origin:
            folder = url2pathname(parts.path)
            # A source that was thrown away after the installation is no place to install from again.
            return (folder, editable) if os.path.isfile(os.path.join(folder, "pyproject.toml")) else (".", False)
        if "vcs_info" in origin:
            return f"{origin['vcs_info']['vcs']}+{url}", False
        return url, False
    return ".", False
