"""Processes of two versions of Python follow one log while others are killed amid a snapshot or a purge, and the clocks
of leaders differ: they have the same state, byte by byte, and nothing is lost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.nats.companions import Companion
from tests.nats.leaders import Leaders
from tests.nats.other_python import other_python
from tests.nats.proxy import Proxy
from tools.nats_servers import Servers

SECONDS = 60.0
LEASE = 2.0
STEPS = 20

FEW = 10
"""More messages of the log than handles store between two commands, and fewer than those of a round's steps."""

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
        yield lambda python: stack.enter_context(Companion(python, location, LEASE, tmp_path))


def until_all_have_heard_the_same(companions: list[Companion]) -> None:
    """Compares their states where they have heard the same."""
    deadline = time.monotonic() + SECONDS
    states = [companion.tell("state") for companion in companions]
    while len({seq for seq, _ in states}) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        states = [companion.tell("state") for companion in companions]
    assert len({state for _, state in states}) == 1, states


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
        # a little later, so that what is stored meanwhile is told with the same clock to everybody
        leaders.change(ours.tell("last") + FEW, CLOCKS[number])
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
