"""Runs one cell of the table: a backend on the runtime that this is running in, CPython or Pyodide, which fetches it.

It imports nothing of the tests but `javascript_mailbox`, which is fetched with it, since they are alone there. As a
program it needs nothing installed, and can run on another Python: cell.py BACKEND PLACE PROGRAMS LOOP SECONDS
"""

import asyncio
import contextlib
import json
import sys
import traceback
from typing import Any
from urllib.parse import quote

from pymailbox import Mailbox, open_mailbox
from pymailbox.testing import CHECKS, MailboxFactory, run_program
from pymailbox.testing._suite import run_each

ON_SERVERS = {"jetstream": 1, "jetstream-3": 3}
"""Backends on so many servers."""


def location(backend: str, name: str, place: str) -> str:
    """Where the mailbox `name` of `backend` is. SQLite puts its file into `place`, an absolute path; for JetStream it
    is HOST:PORT of each server.
    """
    name = quote(name, safe="")
    if backend == "sqlite":
        return f"sqlite:///{quote(place)}/lanes.db#{name}"
    if backend in ON_SERVERS:
        scheme = "ws" if sys.platform == "emscripten" else "nats"
        return f"{scheme}://{place}/{name}?stream=lanes&replicas={ON_SERVERS[backend]}"
    return f"{backend}://{name}"


def factory(backend: str, place: str) -> MailboxFactory:
    """What opens a backend's mailboxes. Two are ways to IndexedDB: JavaScript's, and its and Python's by turns."""
    if backend in ("javascript", "mixed"):
        from javascript_mailbox import JavaScriptMailbox, alternating

        by_backend: dict[str, MailboxFactory] = {"javascript": JavaScriptMailbox.open, "mixed": alternating()}
        return by_backend[backend]

    async def open_one(name: str, **options: Any) -> Mailbox:
        return await open_mailbox(location(backend, name, place), **options)

    return open_one


class Run:
    """All checks and the random programs of some seeds on one backend, and how far they are."""

    def __init__(self, backend: str, place: str, seeds: range) -> None:
        self._seeds = seeds
        self._checks: list[dict[str, Any]] = []
        self._programs: list[dict[str, Any]] = []
        self._running: str | None = "nothing yet"
        self._task: asyncio.Task[None] | None = None
        self._factory = factory(backend, place)

    def start(self) -> None:
        """Let it run in the background of this event loop."""
        self._task = asyncio.create_task(self.finish())

    async def ended(self) -> None:
        """Wait for the end of what was started; raises what ended it early."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def finish(self) -> None:
        """Run to the end."""
        # each by its name, so that what hangs or crashes has one, but with one look at what the mailbox claims
        self._running = f"check {CHECKS[0].name}"
        async for result, _ in run_each(CHECKS, self._factory):
            self._checks.append(result.to_dict())
            self._running = f"check {CHECKS[len(self._checks)].name}" if len(self._checks) < len(CHECKS) else None
        for seed in self._seeds:
            self._running = f"random program with seed {seed}"
            self._programs.append({"seed": seed, "failure": await self._program_failure(seed)})
        self._running = None

    async def report_within(self, seconds: float) -> str:
        """What `report` says at the end of what was started, or after `seconds` if that is earlier."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)
        return self.report()

    def report(self) -> str:
        """Where it is, as JSON: `checks`, a list of `CheckResult.to_dict()`; `programs`, a list of objects with `seed`
        and `failure`, a traceback or null; `running`, what is running now, or null at the end.

        Raises what ended it early.
        """
        if self._task is not None and self._task.done():
            self._task.result()
        return json.dumps({"checks": self._checks, "programs": self._programs, "running": self._running})

    async def _open_relaxed(self, name: str, **options: Any) -> Mailbox:
        """For programs, in which nothing depends on what a power cut would leave."""
        return await self._factory(name, durability="relaxed", **options)

    async def _program_failure(self, seed: int) -> str | None:
        try:
            await run_program(self._open_relaxed, seed)
        except Exception:
            return traceback.format_exc()
        return None


async def _main(backend: str, place: str, programs: int, loop: str, seconds: float) -> None:
    if loop == "eager":
        from tests.lanes.eager_tasks import eager_task_factory

        asyncio.get_running_loop().set_task_factory(eager_task_factory)
    run = Run(backend, place, range(programs))
    run.start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(run.ended(), seconds)
    sys.stdout.write(run.report())


if __name__ == "__main__":
    _, _backend, _place, _programs, _loop, _seconds = sys.argv
    if _loop == "uvloop":
        import uvloop

        _factory: Any = uvloop.new_event_loop
    else:
        _factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=_factory) as _runner:
        _runner.run(_main(_backend, _place, int(_programs), _loop, float(_seconds)))
