"""Builds a folder with a Pyodide distribution, build/pyodide: the core from npm, and wheels from PyPI beside it.

The npm package has no wheels, and its lock file names other builds of them than PyPI has. So each wheel's entry gets
the version, hash and dependencies of the actual file, and entries without a file are removed: the folder serves what it
lists.

Usage: python -m tools.pyodide_dist REQUIREMENTS [FOLDER] REQUIREMENTS is a file that pins and hashes the wheels, for
Pyodide's own Python. FOLDER replaces build/pyodide.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).parent.parent
CORE = ROOT / "node_modules" / "pyodide"
DIST = ROOT / "build" / "pyodide"
CORE_FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
LOCK = "pyodide-lock.json"


def download_wheels(requirements: Path, python_version: str, dist: Path) -> None:
    """Put the wheels that `requirements` pins beside the core."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    command += [
        "--no-deps",
        "--only-binary=:all:",
        "--platform=any",
        "--python-version",
        python_version,
        "--dest",
        str(dist),
    ]
    subprocess.run([*command, "--requirement", str(requirements)], check=True)


def wheel_dependencies(wheel: Path, python_version: str) -> list[str]:
    """Names of the packages that `wheel` needs in Pyodide."""
    environment = {"python_version": python_version, "sys_platform": "emscripten", "os_name": "posix", "extra": ""}
    with ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(metadata).decode())
    requirements = [Requirement(line) for line in headers.get_all("Requires-Dist", [])]
    return [
        canonicalize_name(requirement.name)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(environment)
    ]


def lock_entry(wheel: Path, lock: dict[str, Any], python_version: str) -> dict[str, Any]:
    """The entry for `wheel` in a lock file, made from Pyodide's own if `lock` has one for that package."""
    name, version, _, _ = parse_wheel_filename(wheel.name)
    unknown = {"name": name, "imports": [], "install_dir": "site", "package_type": "package", "unvendored_tests": False}
    entry: dict[str, Any] = lock["packages"].get(name, unknown)
    return entry | {
        "version": str(version),
        "file_name": wheel.name,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "depends": wheel_dependencies(wheel, python_version),
    }


def write_lock(lock: dict[str, Any], python_version: str, dist: Path) -> None:
    """Write the lock file, with an entry for each wheel in the folder and no others."""
    entries = [lock_entry(wheel, lock, python_version) for wheel in sorted(dist.glob("*.whl"))]
    packages = {canonicalize_name(entry["name"]): entry for entry in entries}
    # In one step, so that a server of this folder never serves half a file.
    new = dist / f"{LOCK}.new"
    new.write_text(json.dumps(lock | {"packages": packages}, indent=1), encoding="utf-8")
    new.replace(dist / LOCK)


def python_version_of(lock: dict[str, Any]) -> str:
    """The version of Python in Pyodide, as `3.14`."""
    return ".".join(lock["info"]["python"].split(".")[:2])


def main(requirements: Path, dist: Path = DIST) -> None:
    """Bring the folder up to date with the installed core and `requirements`."""
    lock = json.loads((CORE / LOCK).read_text(encoding="utf-8"))
    python_version = python_version_of(lock)
    dist.mkdir(parents=True, exist_ok=True)
    for wheel in dist.glob("*.whl"):
        wheel.unlink()
    for name in CORE_FILES:
        shutil.copy2(CORE / name, dist / name)
    download_wheels(requirements, python_version, dist)
    write_lock(lock, python_version, dist)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
