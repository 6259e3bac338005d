"""Folders for competitors that keep files: on CPython on the disk, in Pyodide in its virtual file system."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

_root: Path | None = None


def folder_of(name: str) -> Path:
    """A competitor's folder, created if needed. BENCH_FOLDER in the environment says on which disk."""
    global _root
    if _root is None:
        _root = Path(tempfile.mkdtemp(prefix="pymailbox-bench-", dir=os.environ.get("BENCH_FOLDER")))
        atexit.register(shutil.rmtree, _root, ignore_errors=True)
    folder = _root / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def delete_folder(name: str) -> None:
    """Deletes what a competitor has written, but not the folder."""
    folder = folder_of(name)
    shutil.rmtree(folder)
    folder.mkdir()
