"""Builds the site of the JupyterLite example into build/jupyterlite, for `tools.serve_examples`.

Usage: python -m tools.build_jupyterlite
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.serve import ROOT
from tools.serve_examples import EXAMPLES, IGNORED, JUPYTERLITE, copy_localized

SOURCE = EXAMPLES / "jupyterlite"
PROGRAM = ROOT / "build" / "jupyterlite-venv" / "bin" / "jupyter-lite"


def main() -> None:
    """Build the site anew."""
    shutil.rmtree(JUPYTERLITE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "source"
        shutil.copytree(SOURCE, folder, copy_function=copy_localized, ignore=IGNORED)
        command = [str(PROGRAM), "build", "--apps", "notebooks", "--no-sourcemaps"]
        command += ["--contents", "mailbox.ipynb", "--output-dir", str(JUPYTERLITE)]
        built = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if built.returncode:
        raise SystemExit(built.stdout)


if __name__ == "__main__":
    main()
