"""Rounds of processes that share a SQLite file, and are killed."""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.chaos import actor
from tests.chaos.plans import PROCESSES, Kind, Plan
from tests.chaos.recorder import VICTIM, JournalServer
from tools.serve import HOST

_END_SECONDS = 10.0


class ProcessStage:
    """One SQLite file. Actors are forked from a server that has imported all that they need."""

    kinds: Sequence[Kind] = PROCESSES

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pymailbox-chaos-"))
        self.server = JournalServer()
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["__main__", __name__])

    def __enter__(self) -> ProcessStage:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def renew(self) -> None:
        """There is nothing that would have to be."""

    @contextmanager
    def round(self, plan: Plan) -> Iterator[ProcessScene]:
        """A round on mailboxes of its own."""
        scene = ProcessScene(self, plan)
        try:
            yield scene
        finally:
            scene.end()


class ProcessScene:
    """The actors of one round, a process each."""

    def __init__(self, stage: ProcessStage, plan: Plan) -> None:
        self._stage = stage
        name = f"{plan.number}-{plan.seed}"
        self.recorder, self._path = stage.server.next_round(name)
        file = quote(str(stage.folder / "chaos.db"))
        self._plan = plan.for_actors((f"sqlite:///{file}#box-{name}", f"sqlite:///{file}#target-{name}"))
        self._processes: dict[str, BaseProcess] = {}

    def start(self, role: str) -> None:
        """Begin the work of an actor."""
        arguments = (role, self._plan, self._stage.server.server_port, self._path)
        process = self._stage.context.Process(target=_act, args=arguments)
        process.start()
        self._processes[role] = process

    def kill(self) -> None:
        """SIGKILL the victim."""
        self._processes[VICTIM].kill()

    def bring_back(self) -> bool:
        """A process does not come back."""
        return False

    def end_victim(self) -> None:
        """Nothing is left of it."""

    def check(self) -> None:
        """A process does not stand still by itself."""

    def state_of_victim(self) -> str:
        """Nothing is known of it."""
        return ""

    def end(self) -> None:
        """See all processes off."""
        self._processes[VICTIM].kill()
        for process in self._processes.values():
            process.join(_END_SECONDS)
            process.kill()
            process.join()
            process.close()


def _act(role: str, plan: dict[str, Any], port: int, path: str) -> None:
    connection = http.client.HTTPConnection(HOST, port)

    async def post(body: str) -> str:
        connection.request("POST", path, body)
        return connection.getresponse().read().decode()

    async def work() -> None:
        await actor.start(role, plan, post)

    asyncio.run(work())
