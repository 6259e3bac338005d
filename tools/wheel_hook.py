"""Puts the engine into the wheel, as one file without comments: a page then downloads a third, and loads one module.

Where there is no esbuild (`npm ci` brings it), as for a wheel that pip builds of the sources, the engine goes in as it
is, and works the same.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OPTIONS = ("--bundle", "--format=esm", "--target=es2022", "--minify")


class EngineHook(BuildHookInterface):  # type: ignore[type-arg]
    """For hatchling; pyproject.toml names this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is built."""
        if version == "editable":
            return
        root = Path(self.root)
        esbuild = root / "node_modules" / ".bin" / "esbuild"
        if not esbuild.exists():
            build_data["force_include"][str(root / "js")] = "pymailbox/js"
            return
        bundle = root / "build" / "engine" / "index.js"
        command = [str(esbuild), str(root / "js" / "index.js"), *OPTIONS, f"--outfile={bundle}", "--log-level=warning"]
        subprocess.run(command, check=True)
        build_data["force_include"][str(bundle)] = "pymailbox/js/index.js"
