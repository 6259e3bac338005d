"""Where actors report: an HTTP server outside of everything that is killed. What it has seen did happen."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from tests.chaos.judge import Entry, Event, Spot, held_by
from tools.serve import DEMO_ROUTES, HOST, LASTING, ROOT, Handler, Server

VICTIM = "victim"
RESCUER = "rescuer"
AUDITOR = "auditor"

MARKS = ("ready", "spinning", "ending", "done")
"""Reports of actors that are not events of the history."""

KILL_SECONDS = 60.0
LOOK_SECONDS = 15.0
RESCUE_SECONDS = 12.0
"""How long a rescuer waits for what the victim held."""


class Recorder:
    """The history of one round, from any number of threads."""

    def __init__(self, total: int | None = None) -> None:
        self.history: list[Event] = []
        self.total = total
        self._changed = threading.Condition()
        self._posts: set[tuple[str, int]] = set()
        self._marks: set[tuple[str, str]] = set()
        self._kill: Event | None = None

    def receive(self, body: str) -> str:
        """Enter a report of `actor.Journal`, once however often it comes, and answer it.

        A rescuer that is "ready" is answered when the victim is killed.
        """
        report = json.loads(body)
        at = time.monotonic()
        with self._changed:
            post = (report["who"], report["number"])
            if post not in self._posts:
                self._posts.add(post)
                for event in report["events"]:
                    self._enter(event, at)
                self._changed.notify_all()
            if any(event["what"] == "ready" and event["who"] == RESCUER for event in report["events"]):
                self._changed.wait_for(lambda: self._kill is not None, KILL_SECONDS)
            return json.dumps({"enough": self._is_enough_of(report["who"])})

    def note(self, who: str, what: str, **details: Any) -> None:
        """Enter what is about to be done to an actor."""
        with self._changed:
            self._enter({"who": who, "what": what, "wall": time.time()} | details, time.monotonic())
            self._changed.notify_all()

    def wait_for(
        self, reached: Callable[[], bool], what: str, seconds: float, look: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until it is true, looking now and then. Raises `TimeoutError` saying `what`, also if an actor failed."""
        until = time.monotonic() + seconds
        while not self._is_over(reached, min(LOOK_SECONDS, until - time.monotonic())) and time.monotonic() < until:
            look()
        with self._changed:
            if not reached():
                failures = "\n".join(event.text for event in self.history if event.what == "failed")
                raise TimeoutError(f"{what} within {seconds} s\n{self._how_far_all_are()}{failures}")

    def _how_far_all_are(self) -> str:
        """A line for each actor: what it has reported last, and when, and how much it has acknowledged."""
        last = {event.who: event for event in self.history}
        removed = Counter(event.who for event in self.history if event.what == "removed" for _ in event.keys)
        now = time.monotonic()
        return "".join(
            f"{who}: {removed[who]} removed, {event.what} {now - event.at:.1f} s ago\n" for who, event in last.items()
        )

    def _is_over(self, reached: Callable[[], bool], seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: reached() or self._has_failed(), seconds)

    def reports_of(self, who: str) -> int:
        """How many events of an actor there are."""
        return sum(event.who == who for event in self.history)

    def answers_to(self, who: str) -> int:
        """How many calls of an actor are known to have returned."""
        return sum(event.who == who and event.what in ("sent", "claimed", "removed") for event in self.history)

    def has_said(self, who: str, mark: str) -> bool:
        """Whether an actor has reported one of the `MARKS`."""
        return (who, mark) in self._marks

    def _enter(self, event: dict[str, Any], at: float) -> None:
        if event["what"] in MARKS:
            self._marks.add((event["who"], event["what"]))
            return
        for name in event.keys() & {"entries", "drained"}:
            event[name] = [Entry(*entry) for entry in event[name]]
        entered = Event(at=at, **event)
        self.history.append(entered)
        if entered.what == "killed":
            self._kill = self._kill or entered

    def _has_failed(self) -> bool:
        return any(event.what == "failed" and "Traceback" in event.text for event in self.history)

    def _is_enough_of(self, who: str) -> bool:
        """Whether everything that the victim held when it was killed has come to this actor, or `total` has been
        sent."""
        if self.total is not None:
            return sum(len(event.keys) for event in self.history if event.what == "sent") >= self.total
        if self._kill is None or who == VICTIM:
            return False
        if time.monotonic() - self._kill.at > RESCUE_SECONDS:
            return True
        come = {Spot(event.box, entry.key) for event in self.history if event.who == who for entry in event.entries}
        return held_by(VICTIM, self.history) <= come


class JournalHandler(Handler):
    """Also takes reports."""

    server: JournalServer
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # noqa: N802 - the base class wants it so
        """Pass it to the recorder of the round that it belongs to."""
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:  # it was killed while it reported
            self.close_connection = True
            return
        recorder = self.server.recorders.get(self.path)
        answer = recorder.receive(body.decode()).encode() if recorder else b'{"enough": true}'
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class JournalServer(Server):
    """Serves what pages need, and passes reports to the recorder of the current round."""

    def __init__(self, host: str = HOST) -> None:
        """Pages use the name `host`, which must lead to this machine."""
        self._host = host
        super().__init__(0, DEMO_ROUTES | {"/tests/": ROOT / "tests"})
        self.RequestHandlerClass = JournalHandler
        self.lasting = LASTING
        self.recorders: dict[str, Recorder] = {}
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of `/`, without the slash."""
        return f"http://{self._host}:{self.server_port}"

    def next_round(self, name: str, total: int | None = None) -> tuple[Recorder, str]:
        """A fresh recorder, and the path to report to; late reports of earlier rounds are dropped."""
        path = f"/journal/{name}"
        self.recorders = {path: Recorder(total)}
        return self.recorders[path], path

    def stop(self) -> None:
        """Stop serving."""
        self.shutdown()
        self._thread.join()
        self.server_close()
