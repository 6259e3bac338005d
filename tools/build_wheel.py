"""Builds the wheel into build/wheels, alone there, and beside it wheel.json, which tells pages the wheel's file name.

Usage: python -m tools.build_wheel
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / "build" / "wheels"
NAME_FILE = WHEELS / "wheel.json"


def wheel_name() -> str:
    """The file name of the wheel that was built last."""
    name: str = json.loads(NAME_FILE.read_text(encoding="utf-8"))["file"]
    return name


def main() -> None:
    """Build the wheel anew."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(WHEELS)]
    subprocess.run(command, check=True, cwd=ROOT)
    (wheel,) = WHEELS.glob("*.whl")
    # The file name has to reach micropip as it is, since that reads name, version and tags from it.
    NAME_FILE.write_text(json.dumps({"file": wheel.name}), encoding="utf-8")


if __name__ == "__main__":
    main()
