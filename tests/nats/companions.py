"""Other processes with a handle, as on other machines."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.nats.other_python import environment
from tools.serve import ROOT

SECONDS = 60.0


class Companion:
    """A process that follows the log (`companion.py`)."""

    def __init__(self, python: str, location: str, lease: float, folder: Path) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "tests.nats.companion", location, str(lease)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment(folder),
            text=True,
        )
        self.version = tuple(self.answer())

    def __enter__(self) -> Companion:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, *command: Any) -> Any:
        """What a command gives."""
        self.say(*command)
        return self.answer()

    def dies_of(self, *command: Any) -> bool:
        """Whether a command ends it by SIGKILL."""
        self.say(*command)
        return self._process.wait(SECONDS) == -signal.SIGKILL

    def say(self, *command: Any) -> None:
        """Tell it something; `answer` has to follow."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What the last command gives."""
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())
