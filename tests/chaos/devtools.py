"""A Chromium that can be killed: started here with a persistent profile, and driven through its DevTools pipe.

WebDriver won't do: its driver owns the browser, tidies up after it, and waits for pages that have crashed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools import browsers

CALL_SECONDS = 300.0
ANSWER_SECONDS = 5.0
BUSY_SECONDS = 2.0
_FREE_DESCRIPTOR = 10


class DevToolsError(Exception):
    """The browser refused a call, or is gone."""


class NoAnswerError(DevToolsError):
    """The browser is there, but does not answer."""


class Chromium:
    """A browser on a profile folder."""

    def __init__(self, profile: Path, flags: Sequence[str] = ()) -> None:
        command = [
            browsers.chromium(),
            "--headless",
            *browsers.chromium_flags(),
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            *flags,
            "about:blank",
        ]
        to_browser, self._write = _pipe()
        self._read, from_browser = _pipe()
        log = os.open(profile.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._pid = os.posix_spawnp(
            command[0],
            command,
            os.environ,
            file_actions=[
                # first the log, which may have one of the numbers that the pipes get
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, to_browser, 3),
                (os.POSIX_SPAWN_DUP2, from_browser, 4),
            ],
            setpgroup=0,
        )
        for end in (to_browser, from_browser, log):
            os.close(end)
        self._buffer = b""
        self._last_id = 0
        self._ended = False

    def open(self, url: str) -> Tab:
        """A new tab, in the foreground of a window of its own."""
        target = self.call("Target.createTarget", {"url": url, "newWindow": True})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        return Tab(self, target, session)

    def call(
        self,
        method: str,
        parameters: Mapping[str, Any] | None = None,
        session: str | None = None,
        seconds: float = CALL_SECONDS,
    ) -> Any:
        """Ask and wait for the answer."""
        asked = self.send(method, parameters, session)
        until = time.monotonic() + seconds
        while True:
            message = self._receive(until, method)
            if message.get("id") == asked:
                if "error" in message:
                    raise DevToolsError(f"{method}: {message['error']['message']}")
                return message["result"]
            detached = message.get("method") == "Target.detachedFromTarget"
            if session is not None and detached and message["params"]["sessionId"] == session:
                raise DevToolsError(f"{method}: the page is gone")

    def send(self, method: str, parameters: Mapping[str, Any] | None = None, session: str | None = None) -> int:
        """Send a call that may have no answer; returns its number."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters or {}}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        return self._last_id

    def pages_compute(self) -> bool:
        """Whether a process of pages is busy."""

        def used() -> dict[int, float]:
            processes = self.call("SystemInfo.getProcessInfo")["processInfo"]
            return {process["id"]: process["cpuTime"] for process in processes if process["type"] == "renderer"}

        before = used()
        time.sleep(BUSY_SECONDS)
        return any(seconds - before.get(process, 0.0) > BUSY_SECONDS / 10 for process, seconds in used().items())

    def kill(self) -> None:
        """SIGKILL for every process of it, and wait until all are gone."""
        if self._ended:
            return
        self._ended = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        while _runs(self._pid):
            time.sleep(0.002)
        os.close(self._write)
        os.close(self._read)

    def _receive(self, until: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise NoAnswerError(f"{what}: no answer in time")
            data = os.read(self._read, 2**16)
            if not data:
                raise DevToolsError(f"{what}: the browser is gone")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        received: dict[str, Any] = json.loads(message)
        return received


class Tab:
    """A tab of a browser."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session
        self.call("Page.enable")

    def call(self, method: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """Ask and wait for the answer."""
        return self._browser.call(method, parameters, self._session)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited. Raises `DevToolsError` with what it threw."""
        parameters = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", parameters)
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"]
            raise DevToolsError(thrown.get("exception", {}).get("description", thrown["text"]))
        return answer["result"].get("value")

    def run_async(self, code: str) -> Any:
        """Run Python in the harness page that it shows, as in `lanes/runtimes.py`."""
        return self.evaluate(f"runPython({json.dumps(code)})")

    def answers(self, expression: str = "0") -> bool:
        """Whether its page reacts; a page that is gone counts as reacting."""
        parameters = {"expression": expression, "awaitPromise": True}
        try:
            self._browser.call("Runtime.evaluate", parameters, self._session, ANSWER_SECONDS)
        except NoAnswerError:
            return False
        except DevToolsError:
            pass
        return True

    def wait_until(self, expression: str, seconds: float = 30.0) -> None:
        """Wait until a JavaScript expression is true, in whichever page it shows by then."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(DevToolsError):  # between two pages
                if self.evaluate(expression):
                    return
            time.sleep(0.01)
        raise DevToolsError(f"{expression} was not so within {seconds} s")

    def close(self) -> None:
        """Close it."""
        self._browser.call("Target.closeTarget", {"targetId": self._target})

    def reload(self) -> None:
        """Reload the page."""
        self.call("Page.reload")

    def crash(self) -> None:
        """End the process of its page."""
        self._browser.send("Page.crash", session=self._session)

    def go_to(self, url: str) -> None:
        """Leave the page for another."""
        self.call("Page.navigate", {"url": url})

    def go_back(self) -> None:
        """Return to the previous page."""
        history = self.call("Page.getNavigationHistory")
        before = history["entries"][history["currentIndex"] - 1]["id"]
        self.call("Page.navigateToHistoryEntry", {"entryId": before})

    def freeze(self) -> None:
        """Stop everything in the page."""
        self.call("Page.setWebLifecycleState", {"state": "frozen"})

    def thaw(self) -> None:
        """Let it run again."""
        self.call("Page.setWebLifecycleState", {"state": "active"})


def _runs(group: int) -> bool:
    """Whether a group has a process that has not ended; one that nobody has reaped yet has ended."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # gone in the meantime
            state, _, its_group, *_ = stat.read_text().rpartition(")")[2].split()
            if int(its_group) == group and state != "Z":
                return True
    return False


def _pipe() -> tuple[int, int]:
    """A pipe whose ends do not have the standard numbers, for this process only."""
    ends = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FREE_DESCRIPTOR) for end in ends)
    for end in ends:
        os.close(end)
    return read, write
