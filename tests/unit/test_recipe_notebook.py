"""The recipe of a notebook: its cells run as in a kernel, again and again, even after a kernel has died."""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pymailbox import Mailbox, MailboxStats
from tests.unit.recipes import ROOT, cells_of, outputs_of

OPEN, WORK, ENQUEUE, LOOK, AGAIN = cells_of("notebook")
[SHOWN] = outputs_of("notebook")
CORRECTED = WORK.replace('page["text"]', 'page.get("text", "")')

DYING = """
import ast, asyncio, inspect, sys

async def main():
    names = {}
    for cell in sys.argv[1:]:
        await eval(compile(cell, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    while (await names["jobs"].status()).inflight_messages < 2:
        await asyncio.sleep(0.01)
    print("two in hand", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


class Kernel:
    """Runs cells in a namespace of their own, on one event loop."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}

    async def run(self, *cells: str) -> None:
        for cell in cells:
            running = eval(compile(cell, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), self.names)
            if inspect.isawaitable(running):
                await running

    async def until_idle(self) -> MailboxStats:
        async with asyncio.timeout(60):
            jobs: Mailbox = self.names["jobs"]
            async for stats in jobs.changes():
                if stats.queued_messages == stats.inflight_messages == 0:
                    return stats
        raise AssertionError

    async def restart(self) -> None:
        """Everything is dropped, as when a kernel ends normally."""
        self.names["consumer"].stop()
        await self.names["worker"]
        for name in ("jobs", "results"):
            await self.names[name].close()


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_cells_are_run_again_and_again(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = Kernel()
    await kernel.run(OPEN, WORK, ENQUEUE)
    # at once, in another order, with the handler's cell in the middle of its work
    await kernel.run(OPEN, ENQUEUE, WORK, LOOK, ENQUEUE, WORK, OPEN)
    await kernel.until_idle()
    capsys.readouterr()
    await kernel.run(LOOK)
    assert capsys.readouterr().out == SHOWN

    assert CORRECTED != WORK
    await kernel.run(OPEN, ENQUEUE, CORRECTED, AGAIN)
    await kernel.until_idle()
    await kernel.run(ENQUEUE, LOOK)
    done = ["One: 3 words", "Two: 5 words", "Three: 0 words"]
    assert capsys.readouterr().out.splitlines() == ["0 waiting, 0 in hand, 0 given up", *done]
    assert sum("consume" in repr(task) for task in asyncio.all_tasks()) <= 1
    await kernel.restart()

    kernel = Kernel()
    await kernel.run(OPEN, WORK, ENQUEUE)
    assert (await kernel.until_idle()).dead_letters == 0
    await kernel.run(LOOK)
    assert capsys.readouterr().out.splitlines()[1:] == done
    await kernel.restart()
    kernel.names.clear()
    gc.collect()


async def test_a_worker_that_has_ended_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = Kernel()
    await kernel.run(OPEN, WORK)
    await kernel.names["jobs"].close()
    await asyncio.wait([kernel.names["worker"]])
    kernel.names["jobs"] = await kernel.names["open_mailbox"]("jobs")
    await kernel.run(LOOK)
    assert re.search("the worker has ended: <Task finished .*MailboxClosedError", capsys.readouterr().out)
    await kernel.run(WORK)
    assert not kernel.names["worker"].done()
    await kernel.restart()


def work_until_killed(environment: dict[str, str], *cells: str) -> None:
    """A kernel in a process of its own, which is killed while it has two jobs in hand."""
    with subprocess.Popen(
        [sys.executable, "-c", DYING, *cells], env=environment, stdout=subprocess.PIPE, text=True
    ) as dying:
        assert dying.stdout is not None
        assert dying.stdout.readline() == "two in hand\n"
        dying.kill()


async def test_a_kernel_dies_amid_its_jobs(unmeasured: dict[str, str]) -> None:
    slow = WORK.replace("sleep(0.1)", "sleep(3600)")
    assert slow != WORK
    work_until_killed(unmeasured | {"PYTHONPATH": str(ROOT)}, OPEN, ENQUEUE, slow)
    kernel = Kernel()
    await kernel.run(OPEN, CORRECTED, ENQUEUE)
    assert (await kernel.until_idle()).dead_letters == 0
    results = [result.payload.decode() for result in await kernel.names["results"].peek(100)]
    assert sorted(results) == ["One: 3 words", "Three: 0 words", "Two: 5 words"]
    await kernel.restart()
