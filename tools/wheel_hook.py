"""Puts the engine into the wheel as one file without comments: a page then downloads a third, and loads one module.

Without a working esbuild (`npm ci` installs one), as when pip builds a wheel from the sources, the engine goes in as it
is, and works the same; with PYMAILBOX_BUNDLE=required in the environment that is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ENGINE = "pymailbox/js/index.js"
"""The path in a wheel."""

WHOLE_ENGINE = 'export * from "./index.js";'
ENGINE_FOR_PYTHON = 'export * as python from "./python.js";'
"""Without the JavaScript API."""

OPTIONS = ("--bundle", "--format=esm", "--target=es2022", "--log-level=warning")


class EngineHook(BuildHookInterface):  # type: ignore[type-arg]
    """For hatchling; pyproject.toml names this file."""

    _folder: TemporaryDirectory[str] | None = None
    """Not in the checkout, which may be read-only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is built."""
        if version == "editable":
            return
        try:
            engine, name = self._bundle(), ENGINE
        except (OSError, subprocess.CalledProcessError) as error:
            self._clear()
            if os.environ.get("PYMAILBOX_BUNDLE") == "required":
                raise
            self.app.display_warning(
                f"The engine goes into the wheel as it is, since esbuild cannot bundle it into one file ({error}). The "
                "wheel works the same, and is larger. For one to publish, run `make wheel`"
            )
            engine, name = Path(self.root) / "js", "pymailbox/js"
        build_data["force_include"][str(engine)] = name

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called after the build."""
        self._clear()

    def _clear(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def _bundle(self) -> Path:
        engine = bundle(WHOLE_ENGINE, Path(self.root))
        self._folder = TemporaryDirectory()
        path = Path(self._folder.name) / "index.js"
        path.write_bytes(engine)
        return path


def bundle(entry: str, root: Path) -> bytes:
    """Bundles an entry in a checkout's js/ into one module.

    Raises:
        OSError, subprocess.CalledProcessError: there is no working esbuild.
    """
    command, folder = [_esbuild(root), *OPTIONS, "--minify"], root / "js"
    return subprocess.run(command, input=entry.encode(), stdout=subprocess.PIPE, cwd=folder, check=True).stdout


def bundle_files(entries: Sequence[str], source: Path, folder: Path, root: Path) -> None:
    """Bundles modules in `source` into `folder`, each under its own path. What several of them import is there once, in
    files of its own.

    Raises:
        OSError, subprocess.CalledProcessError: there is no working esbuild.
    """
    command = [_esbuild(root), *OPTIONS, *entries, "--splitting", "--sourcemap", f"--outdir={folder}"]
    subprocess.run(command, cwd=source, check=True)


def _esbuild(root: Path) -> str:
    scripts = root / "node_modules" / ".bin"
    esbuild = shutil.which("esbuild", path=str(scripts))
    if esbuild is None:
        raise FileNotFoundError(f"there is none in {scripts}; `npm ci` gets it")
    return esbuild
