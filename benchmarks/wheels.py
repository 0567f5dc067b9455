"""Which dependency has a wheel for which Python on which platform, asked of the package index.

Reads the dependencies and extras of pyproject.toml and lets pip choose a wheel for each combination without
installing anything; nothing is built, so what has only a source distribution counts as missing. Prints the table
of docs/guides/install.md: per extra, the packages for which there is none.

    python benchmarks/wheels.py [--python 3.11,3.12] [--only litert]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.requirements import Requirement

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    "Linux x86-64": [
        *(f"manylinux_2_{n}_x86_64" for n in (35, 34, 31, 28, 27, 26, 24, 17, 12, 5)),
        *(f"manylinux{n}_x86_64" for n in (2014, 2010, 1)),
    ],
    "Linux ARM": [*(f"manylinux_2_{n}_aarch64" for n in (35, 34, 31, 28, 27, 26, 24, 17)), "manylinux2014_aarch64"],
    "Alpine (musl)": ["musllinux_1_2_x86_64", "musllinux_1_1_x86_64"],
    "Mac, Apple chip": ["macosx_15_0_arm64"],
    "Mac, Intel chip": ["macosx_15_0_x86_64"],
    "Windows x86-64": ["win_amd64"],
    "Windows ARM": ["win_arm64"],
}
_MACHINES = {"Linux ARM": "aarch64", "Mac, Apple chip": "arm64", "Windows x86-64": "AMD64", "Windows ARM": "ARM64"}
_SYSTEMS = {"Mac": "darwin", "Win": "win32"}


def extras() -> dict[str, list[Requirement]]:
    """Extra -> its requirements; the base install under an empty name."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: [Requirement(line) for line in lines if not line.startswith("itemrec[")]
        for extra, lines in groups.items()
        if extra not in ("dev", "bench")
    }


def wanted(requirement: Requirement, platform: str, python: str) -> bool:
    """Whether the requirement's marker holds there."""
    machine, system = _MACHINES.get(platform, "x86_64"), _SYSTEMS.get(platform[:3], "linux")
    there = {"platform_machine": machine, "sys_platform": system, "python_version": python}
    return requirement.marker is None or requirement.marker.evaluate(there)


def has_wheel(requirement: Requirement, python: str, platforms: Sequence[str]) -> bool:
    """Whether pip finds a wheel that this Python can load on a machine that takes these tags."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--ignore-installed"]
        command += ["--only-binary", ":all:", "--target", folder, "--python-version", python]
        command += [word for tag in platforms for word in ("--platform", tag)]
        command.append(f"{requirement.name}{requirement.specifier}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" not in done.stderr:
        raise SystemExit(done.stderr)
    return done.returncode == 0


def pythons_without(requirement: Requirement, platform: str, pythons: Sequence[str]) -> list[str]:
    """The Python versions for which there is no wheel there."""
    asked = [python for python in pythons if wanted(requirement, platform, python)]
    if all(has_wheel(requirement, python, ["any"]) for python in asked[:1]):  # pure Python runs everywhere
        return []
    return [python for python in asked if not has_wheel(requirement, python, PLATFORMS[platform])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=",".join(PYTHONS))
    parser.add_argument("--only", default="", help="requirements that contain this")
    options = parser.parse_args()
    pythons = options.python.split(",")
    asked = [(e, r, p) for e, rs in extras().items() for r in rs if options.only in r.name for p in PLATFORMS]
    with ThreadPoolExecutor(4) as pool:
        lacks = list(pool.map(lambda cell: pythons_without(cell[1], cell[2], pythons), asked))
    print(f"| extra | {' | '.join(PLATFORMS)} |\n|---|{'---|' * len(PLATFORMS)}")
    for extra in dict.fromkeys(e for e, _, _ in asked):
        row = []
        for platform in PLATFORMS:
            here = [(r.name, v) for (e, r, p), v in zip(asked, lacks, strict=True) if (e, p) == (extra, platform) and v]
            words = [f"no {n}" if v == pythons else f"no {n} for {', '.join(v)}" for n, v in here]
            row.append("; ".join(words) or "yes")
        print(f"| {f'`{extra}`' if extra else '(none)'} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
