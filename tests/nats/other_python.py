"""Another version of Python than the tests' own, with the same nats-py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nats

from tools.serve import ROOT

VERSIONS = ("3.14", "3.13", "3.12", "3.11")


def other_python() -> str | None:
    """Its program: what PYMAILBOX_OTHER_PYTHON names, or the newest one that is found."""
    named = os.environ.get("PYMAILBOX_OTHER_PYTHON")
    ours = "{}.{}".format(*sys.version_info)
    for version in () if named else VERSIONS:
        found = shutil.which(f"python{version}")
        if found is None or version == ours:
            continue
        # where pyenv stands before it, it has to be told
        told = subprocess.run(
            [found, "-c", "import sys; print(sys.executable)"],
            env=os.environ | {"PYENV_VERSION": version},
            capture_output=True,
            text=True,
        )
        if told.returncode == 0:
            return told.stdout.strip()
    return named


def environment(folder: Path) -> dict[str, str]:
    """In which any Python finds this project and our nats-py, by a link in `folder`, and nothing else of ours."""
    link = folder / "nats"
    if not link.exists():
        link.symlink_to(Path(nats.__file__).parent, target_is_directory=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), "PYTHONDONTWRITEBYTECODE": "1"}
