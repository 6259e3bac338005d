"""The actor as a program on CPython: it is killed and restarted, and every text is answered once."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.serve import ROOT

RUN = ROOT / "examples" / "actor" / "run.py"
SECONDS = 60


def command(*texts: str) -> list[str]:
    return [sys.executable, "-u", str(RUN), *texts]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def send(folder: Path, *texts: str) -> None:
    subprocess.run(command(*texts), check=True, cwd=folder, env=environment(), timeout=SECONDS)


@contextmanager
def running(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    # if the tests were started in the background, SIGINT is ignored, and a child would inherit that
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        actor = subprocess.Popen(command(), stdout=subprocess.PIPE, text=True, cwd=folder, env=environment())
    finally:
        signal.signal(signal.SIGINT, inherited)
    with actor:
        # so that a line that never comes is a failure, and not a test without end
        watchdog = threading.Timer(SECONDS, actor.kill)
        watchdog.start()
        try:
            yield actor
        finally:
            watchdog.cancel()
            actor.kill()


def lines(actor: "subprocess.Popen[str]", count: int) -> list[str]:
    assert actor.stdout
    return [actor.stdout.readline().rstrip("\n") for _ in range(count)]


def test_it_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    send(tmp_path, "three short words", "two words")
    with running(tmp_path) as actor:
        assert lines(actor, 2) == ["3 words: three short words", "2 words: two words"]
        send(tmp_path, "while it runs")
        assert lines(actor, 1) == ["3 words: while it runs"]
    send(tmp_path, "while it is dead")
    with running(tmp_path) as actor:
        assert lines(actor, 4) == [
            "3 words: three short words",
            "2 words: two words",
            "3 words: while it runs",
            "4 words: while it is dead",
        ]
        actor.send_signal(signal.SIGINT)
        assert actor.wait(SECONDS) == 0
