"""Where the benchmark runs: tabs of a browser, or this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from bench import session
from bench.competitors.servers import PLACE
from bench.plan import IN_PAGES, ON_SERVERS, OURS
from bench.queues import Job
from tools import browsers
from tools.build_wheel import nats_wheel_name, page_wheel_name
from tools.nats_servers import Server as NatsServer
from tools.nats_servers import Servers
from tools.serve import DEMO_ROUTES, ROOT, Server

BENCH = Path(__file__).parent
WHEELS = ROOT / "build" / "bench-wheels"
"""Wheels of the packages to compare with."""

IN_PYODIDE = ("litequeue", "persist_queue")
"""Those that also run in Pyodide."""

PYSCRIPT = ROOT / "node_modules" / "@pyscript" / "core" / "src" / "stdlib" / "pyscript"

ROUTES = DEMO_ROUTES | {
    "/": BENCH / "page",
    "/bench/": BENCH,
    "/bench-wheels/": WHEELS,
    "/node_modules/": ROOT / "node_modules",
    "/pyscript/": PYSCRIPT,
}
"""The page is at /bench/page/."""

ON_THEM = "ours_on_servers"
"""The module that is ours on NATS servers."""

CALL_SECONDS = 300
"""How long one call may take: a backlog of 100,000 is stored in one."""

CHROMIUM_SQLITE = "--enable-features=IdbSqliteBackingStore,IdbSqliteOnDiskRollout:stage/UseSqliteForNewStores"
"""Chromium's future IndexedDB store, so far behind a flag."""


class Environment(Protocol):
    """Where competitors are measured."""

    def prepare(self, competitor: str, job: Job) -> None:
        """Opens a competitor's fresh store and fills it."""

    def measure(self, competitor: str) -> float:
        """One figure, in the case's unit."""

    def finish(self, competitor: str) -> None:
        """Closes a competitor and deletes its store."""

    def wake_up(self, job: Job, count: int) -> float:
        """The median of that many wake-ups of one tab by another."""

    def version(self) -> str:
        """What it runs in, for readers."""


class Tabs(Protocol):
    """The tabs of a browser."""

    def open(self, url: str) -> int:
        """Opens one more."""

    def call(self, tab: int, method: str, parameters: list[Any]) -> Any:
        """Calls a method of the page's ``bench`` and returns what its promise resolves to."""

    def version(self) -> str: ...


class Browser:
    """The benchmark's page, in the first tab of a browser."""

    def __init__(self, tabs: Tabs, url: str, wheels: Sequence[str] = ()) -> None:
        self._tabs = tabs
        self._url = url
        self._wheels = wheels
        """What it installs besides: paths on its server, or names of packages in its Pyodide."""
        self._first = self._open()
        self._second: int | None = None

    def prepare(self, competitor: str, job: Job) -> None:
        self._tabs.call(self._first, "prepare", [competitor, asdict(job)])

    def measure(self, competitor: str) -> float:
        return float(self._tabs.call(self._first, "measure", [competitor]))

    def finish(self, competitor: str) -> None:
        self._tabs.call(self._first, "finish", [competitor])

    def wake_up(self, job: Job, count: int) -> float:
        if self._second is None:
            self._second = self._open()
        self._run(self._second, "from bench.cases import wake_up; await wake_up.listen()")
        self._run(self._first, f"from bench.cases import wake_up; await wake_up.send({count}, {job.payload_bytes})")
        latencies: list[float] = json.loads(self._run(self._second, "await wake_up.stop()"))
        if len(latencies) != count:
            raise RuntimeError(f"{len(latencies)} of {count} messages arrived")
        return median(latencies)

    def version(self) -> str:
        return self._tabs.version()

    def _open(self) -> int:
        tab = self._tabs.open(f"{self._url}/bench/page/index.html")
        wheels = [f"{self._url}/wheels/{page_wheel_name()}"]
        wheels += [
            f"{self._url}/bench-wheels/{wheel.name}" for name in IN_PYODIDE for wheel in WHEELS.glob(f"{name}-*")
        ]
        self._tabs.call(tab, "start", [" ".join([*wheels, *self._wheels]), _python_files()])
        return tab

    def _run(self, tab: int, code: str) -> Any:
        return self._tabs.call(tab, "runPython", [code])


class BrowserOnServers(Browser):
    """A page, and NATS servers."""

    def __init__(self, tabs: Tabs, url: str, servers: Servers) -> None:
        super().__init__(tabs, url, [f"{url}/wheels/{nats_wheel_name()}", "nats-py"])
        self._server = servers.servers[0]
        self._run(
            self._first,
            f"""
            from bench import session
            from bench.competitors.servers import PLACE

            PLACE.scheme, PLACE.addresses, PLACE.replicas = "ws", {servers.websockets!r}, {servers.count}
            session.MODULES[{OURS!r}] = {ON_THEM!r}
            """,
        )

    def version(self) -> str:
        return f"{super().version()}, {_version_of(self._server)}"


class CPython:
    """This process."""

    def __init__(self, runner: asyncio.Runner, suffix: str = "") -> None:
        self._runner = runner
        self._suffix = suffix
        """The competitors' names."""

    def prepare(self, competitor: str, job: Job) -> None:
        self._runner.run(session.prepare(competitor + self._suffix, json.dumps(asdict(job))))

    def measure(self, competitor: str) -> float:
        return self._runner.run(session.measure(competitor + self._suffix))

    def finish(self, competitor: str) -> None:
        self._runner.run(session.finish(competitor + self._suffix))

    def wake_up(self, job: Job, count: int) -> float:
        raise NotImplementedError("a case for browsers")

    def version(self) -> str:
        return f"CPython {sys.version.split()[0]}"


class OnServers(CPython):
    """This process, and NATS servers."""

    def __init__(self, runner: asyncio.Runner, servers: Servers) -> None:
        super().__init__(runner)
        self._servers = servers
        PLACE.addresses, PLACE.replicas = servers.addresses, servers.count
        self._note_processes()

    def prepare(self, competitor: str, job: Job) -> None:
        if job.case == "server_memory":  # what they have used once they would use again
            for server in self._servers.servers:
                server.stop()
            self._servers.start()
            self._note_processes()
        super().prepare(competitor, job)

    def _note_processes(self) -> None:
        PLACE.processes = tuple(server.process_id for server in self._servers.servers)
        PLACE.monitors = tuple(server.url_of("/varz") for server in self._servers.servers)

    def version(self) -> str:
        return f"{super().version()}, {_version_of(self._servers.servers[0])}"


class ChromiumTabs:
    """Chromium, which selenium drives."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver
        driver.set_script_timeout(CALL_SECONDS)
        self._handles: list[str] = []

    def open(self, url: str) -> int:
        if self._handles:
            self._driver.switch_to.new_window("tab")
        self._driver.get(url)
        WebDriverWait(self._driver, 30).until(lambda page: page.execute_script("return 'bench' in globalThis"))
        self._handles.append(self._driver.current_window_handle)
        return len(self._handles) - 1

    def call(self, tab: int, method: str, parameters: list[Any]) -> Any:
        if self._driver.current_window_handle != self._handles[tab]:
            self._driver.switch_to.window(self._handles[tab])
        result, error = self._driver.execute_async_script(
            """
            const [method, parameters, done] = arguments;
            bench[method](...parameters).then(
              (result) => done([result ?? null, null]),
              (error) => done([null, error.stack ?? String(error)]),
            );
            """,
            method,
            parameters,
        )
        if error is not None:
            raise RuntimeError(error)
        return result

    def version(self) -> str:
        return f"Chromium {self._driver.capabilities['browserVersion']}"


class FirefoxTabs:
    """Firefox, which Playwright drives in a Node process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def open(self, url: str) -> int:
        return int(self._request("open", url))

    def call(self, tab: int, method: str, parameters: list[Any]) -> Any:
        return self._request("call", tab, method, parameters)

    def version(self) -> str:
        return f"Firefox {self._request('version')}"

    def _request(self, method: str, *params: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        watchdog = threading.Timer(CALL_SECONDS, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps({"method": method, "params": params}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise RuntimeError(f"node ended without an answer, or was killed after {CALL_SECONDS} s")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]


@contextlib.contextmanager
def environment_of(engine: str) -> Iterator[Environment]:
    """Where the cases of an engine, one of ``bench.plan.ENGINES``, run."""
    if engine in ("cpython", "memory"):
        with asyncio.Runner() as runner:
            yield CPython(runner, ", on memory" if engine == "memory" else "")
        return
    if engine in ON_SERVERS:
        count, sync = ON_SERVERS[engine]
        if engine in IN_PAGES:
            with (
                _server() as server,
                Servers(count, sync=sync, origins=[server.url]) as servers,
                _tabs(IN_PAGES[engine]) as tabs,
            ):
                yield BrowserOnServers(tabs, server.url, servers)
            return
        with (
            Servers(count, sync=sync) as servers,
            asyncio.Runner() as runner,
            session.replaced(OURS, ON_THEM),
        ):
            yield OnServers(runner, servers)
        return
    with _server() as server, _tabs(engine) as tabs:
        yield Browser(tabs, server.url)


def _version_of(server: NatsServer) -> str:
    return f"nats-server {server.told('/varz')['version']}"


@contextlib.contextmanager
def _server() -> Iterator[Server]:
    with Server(0, ROUTES) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _tabs(engine: str) -> Iterator[Tabs]:
    if engine == "firefox":
        command = ["node", str(BENCH / "playwright_tabs.mjs"), "firefox"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield FirefoxTabs(process)
        finally:
            process.communicate(timeout=30)
        return
    browsers.keep_selenium_offline()
    options = webdriver.ChromeOptions()
    flags = ["--headless", "--enable-precise-memory-info", *browsers.chromium_flags()]
    for flag in [*flags, CHROMIUM_SQLITE] if engine == "chromium-sqlite" else flags:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options)
    try:
        yield ChromiumTabs(driver)
    finally:
        driver.quit()


def _python_files() -> dict[str, str]:
    """URLs of the modules that a page needs, by their paths in Python's home."""
    ours = [BENCH / "__init__.py", BENCH / "queues.py", BENCH / "session.py"]
    ours += [*(BENCH / "cases").glob("*.py"), *(BENCH / "competitors").glob("*.py")]
    served = {f"bench/{path}": f"/bench/{path}" for path in (file.relative_to(BENCH).as_posix() for file in ours)}
    # PyScript's storage module alone, unchanged; its package would start PyScript itself
    served |= {f"pyscript/{name}.py": f"/pyscript/{name}.py" for name in ("ffi", "flatted", "storage")}
    return served
