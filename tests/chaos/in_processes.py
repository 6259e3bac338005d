"""Rounds of processes that are killed, on a shared SQLite file or another storage."""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from tests.chaos import actor
from tests.chaos.plans import PROCESSES, Kind, Plan
from tests.chaos.recorder import VICTIM, JournalServer
from tools.serve import HOST

_END_SECONDS = 60.0
"""Two mailboxes are closed, which takes more than 20 s each where servers do not answer."""


class ProcessStage:
    """Actors are forked from a server that has imported everything they need."""

    kinds: Sequence[Kind] = PROCESSES

    def __init__(self) -> None:
        self.server = JournalServer()
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["__main__", __name__])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def renew(self) -> None:
        """Nothing has to be checked."""

    def location(self, name: str, plan: Plan) -> str:
        """The location of a round's mailbox `name`."""
        raise NotImplementedError

    @contextmanager
    def round(self, plan: Plan) -> Iterator[ProcessScene]:
        """A round on mailboxes of its own."""
        scene = ProcessScene(self, plan)
        try:
            yield scene
        finally:
            scene.end()


class SqliteStage(ProcessStage):
    """One SQLite file."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(prefix="pymailbox-chaos-"))

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        shutil.rmtree(self._folder, ignore_errors=True)

    def location(self, name: str, plan: Plan) -> str:
        """In the file."""
        return f"sqlite:///{quote(str(self._folder / 'chaos.db'))}#{name}"


class ProcessScene:
    """The actors of one round, a process each."""

    def __init__(self, stage: ProcessStage, plan: Plan) -> None:
        self._stage = stage
        name = f"{plan.number}-{plan.seed}"
        self.recorder, self._path = stage.server.next_round(name)
        locations = stage.location(f"box-{name}", plan), stage.location(f"target-{name}", plan)
        self._plan = plan.for_actors(locations)
        self._processes: dict[str, BaseProcess] = {}

    def start(self, role: str) -> None:
        """Begin the work of an actor."""
        works = {role: self._plan | self._more_for(role)}
        process = self._stage.context.Process(target=act, args=(works, self._stage.server.server_port, self._path))
        process.start()
        self._processes[role] = process

    def _more_for(self, role: str) -> dict[str, Any]:
        """What else an actor needs to know."""
        return {}

    def kill(self) -> None:
        """SIGKILL the victim."""
        self._processes[VICTIM].kill()

    def bring_back(self) -> bool:
        """A process does not come back."""
        return False

    def end_victim(self) -> None:
        """Tell it to end, by SIGTERM. Raises `TimeoutError` if it does not."""
        victim = self._processes[VICTIM]
        victim.terminate()
        victim.join(_END_SECONDS)
        if victim.is_alive():
            raise TimeoutError(f"the victim did not end within {_END_SECONDS} s of being told to")

    def check(self) -> None:
        """A process does not stand still by itself."""

    def state_of_victim(self) -> str:
        """Nothing is known about it."""
        return ""

    def end(self) -> None:
        """End all processes."""
        self._processes[VICTIM].kill()
        for process in self._processes.values():
            process.join(_END_SECONDS)
            process.kill()
            process.join()
            process.close()


def act(works: Mapping[str, dict[str, Any]], port: int, path: str) -> None:
    """What a process does: actors work in it, by their roles, until all are done or it is told to end."""
    connection = http.client.HTTPConnection(HOST, port)

    async def post(body: str) -> str:
        connection.request("POST", path, body)
        return connection.getresponse().read().decode()

    async def work() -> None:
        together = asyncio.gather(*(actor.start(role, plan, post) for role, plan in works.items()))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, together.cancel)
        with suppress(asyncio.CancelledError):
            await together

    asyncio.run(work())
