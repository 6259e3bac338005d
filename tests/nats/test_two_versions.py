"""Processes of two versions of Python follow one log while others are killed amid a snapshot or a purge, and the clocks
of leaders differ: they have the same state, byte by byte, and nothing is lost.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.nats.leaders import Leaders
from tests.nats.other_python import environment, other_python
from tests.nats.proxy import Proxy
from tools.nats_servers import Servers
from tools.serve import ROOT

SECONDS = 60.0
LEASE = 2.0
STEPS = 20

CLOCKS = (0, -2, 1, 3600, 3598, 3605, 3604)
"""Seconds by which each round's leader is ahead of the others."""

KILLS = (
    ("after the first part of a snapshot", ".p.", 1, True),
    ("before a snapshot is there", ".m.inbox.s", 1, False),
    ("after a snapshot, and before anybody is asked how far he is", "CONSUMER.LIST", 1, False),
    ("before the first purge", "STREAM.PURGE", 1, False),
    ("after the first purge", "STREAM.PURGE", 1, True),
    ("between two purges", "STREAM.PURGE", 2, True),
    ("after the last purges", "STREAM.PURGE", 3, True),
)


class Companion:
    """A process that follows the log (`companion.py`)."""

    def __init__(self, python: str, location: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "tests.nats.companion", location, str(LEASE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment(folder),
            text=True,
        )
        self.version = tuple(self._answer())

    def __enter__(self) -> Companion:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def tell(self, *command: Any) -> Any:
        """What a command gives."""
        self._say(*command)
        return self._answer()

    def dies_of(self, *command: Any) -> bool:
        """Whether a command ends it by SIGKILL."""
        self._say(*command)
        return self._process.wait(SECONDS) == -signal.SIGKILL

    def _say(self, *command: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="module")
def other() -> str:
    found = other_python()
    if found is None:
        pytest.skip("there is no other version of Python here; PYMAILBOX_OTHER_PYTHON names one")
    return found


@pytest.fixture
def proxy(servers: Servers) -> Iterator[Proxy]:
    with Proxy(servers.servers[0].address) as proxy:
        yield proxy


@pytest.fixture
def companion(servers: Servers, proxy: Proxy, stream: str, tmp_path: Path) -> Iterator[Callable[[str], Companion]]:
    """Starts a process of a version of Python."""
    location = servers.location("inbox", stream, at=proxy.address)
    with ExitStack() as stack:
        yield lambda python: stack.enter_context(Companion(python, location, tmp_path))


def until_all_have_heard_the_same(companions: list[Companion]) -> None:
    """Compares their states where they have heard the same."""
    deadline = time.monotonic() + SECONDS
    states = [companion.tell("state") for companion in companions]
    while len({seq for seq, _ in states}) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        states = [companion.tell("state") for companion in companions]
    assert len({state for _, state in states}) == 1


@pytest.mark.slow
def test_two_versions_have_the_same_state(other: str, proxy: Proxy, companion: Callable[[str], Companion]) -> None:
    leaders = Leaders(proxy)
    ours, theirs = companion(sys.executable), companion(other)
    assert ours.version == sys.version_info[:2]
    assert theirs.version != ours.version
    stored: set[str] = set()
    settled: set[str] = set()

    def work(one: Companion, seed: int) -> None:
        done = one.tell("work", seed, STEPS)
        stored.update(done["sent"])
        settled.update(done["settled"])

    for number, (_, text, count, after) in enumerate(KILLS):
        leaders.change(ours.tell("last"), CLOCKS[number])
        victim = companion((sys.executable, other)[number % 2])
        for seed, one in enumerate((ours, theirs, victim)):
            work(one, 10 * number + seed)
        if text == ".p.":
            victim.tell("shrink")
        victim.tell("die_at", text, count, after)
        assert victim.dies_of("snapshot")
        until_all_have_heard_the_same([ours, theirs])
        (theirs, ours)[number % 2].tell("snapshot")
        with companion((other, sys.executable)[number % 2]) as newcomer:
            until_all_have_heard_the_same([ours, theirs, newcomer])
    ours.tell("let_go")
    theirs.tell("let_go")
    left = ours.tell("drain")
    assert len(left) == len(set(left))
    assert set(left) == stored - settled
    until_all_have_heard_the_same([ours, theirs, companion(other)])
