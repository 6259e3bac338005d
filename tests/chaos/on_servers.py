"""Rounds of processes on one or three JetStream servers: a process, a server, or the connection between them is
killed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.chaos.in_processes import ProcessScene, ProcessStage
from tests.chaos.plans import CUT_OFF, LEADER_KILLED, ON_SERVERS, SERVER_KILLED, STALLED, Kind, Plan
from tests.chaos.recorder import VICTIM
from tests.nats.proxy import Proxy
from tools.nats_servers import Servers

STREAM = "chaos"
AWAY_SECONDS = (0.05, 3.0)


class ServerStage(ProcessStage):
    """One server, a proxy in front of it, and three servers."""

    kinds: Sequence[Kind] = ON_SERVERS

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.one = self._stack.enter_context(Servers(1))
        self.three = self._stack.enter_context(Servers(3))
        self.proxy = self._stack.enter_context(Proxy(self.one.addresses))

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._stack.close()

    def location(self, name: str, plan: Plan) -> str:
        """On the servers that the plan is about."""
        return (self.three if plan.kind == LEADER_KILLED else self.one).location(name, STREAM)

    @contextmanager
    def round(self, plan: Plan) -> Iterator[ServerScene]:
        """A round on mailboxes of its own, with all servers running."""
        scene = ServerScene(self, plan)
        try:
            yield scene
        finally:
            scene.end()
            self.proxy.mend()
            self.one.start()
            self.three.start()


class ServerScene(ProcessScene):
    """The actors of one round, a process each, and what they work on."""

    def __init__(self, stage: ServerStage, plan: Plan) -> None:
        super().__init__(stage, plan)
        self._servers = stage
        self._kind = plan.kind
        self._away = random.Random(plan.seed).uniform(*AWAY_SECONDS)

    def _more_for(self, role: str) -> dict[str, Any]:
        """A victim that is cut off goes through the proxy; the others use the same name for the mailbox."""
        if role != VICTIM or self._kind not in (CUT_OFF, STALLED):
            return {}
        return {"instead": (self._servers.one.addresses, self._servers.proxy.address)}

    def kill(self) -> None:
        """SIGKILL the victim; or kill a server and restart it; or cut or stall the connection for a while."""
        one, three, proxy = self._servers.one, self._servers.three, self._servers.proxy
        if self._kind == LEADER_KILLED:
            three.leader_of(STREAM).kill()
        elif self._kind == SERVER_KILLED:
            one.servers[0].kill()
            time.sleep(self._away)
            one.start()
        elif self._kind == CUT_OFF:
            proxy.cut(refuse=True)
            time.sleep(self._away)
            proxy.mend()
        elif self._kind == STALLED:
            proxy.stall()
            time.sleep(self._away)
            proxy.mend()
        else:
            super().kill()

    def bring_back(self) -> bool:
        """Restart the leader that was killed."""
        self._servers.three.start()
        return True
