"""Ways to run Python code elsewhere: in Pyodide in Node, and in browsers that pytest-pyodide does not drive.

In all of them `run_async(code)` runs asynchronous Python, as pytest-pyodide's `selenium.run_async` does: it returns the
value of the last expression, a string, a number, a boolean or None, and raises with the traceback.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from pyvirtualdisplay.display import Display
from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

from tools import browsers

DRIVERS = Path(__file__).parent.parent / "browser"
CALL_SECONDS = 300
"""How long one call may take; a browser that hangs must not hang the run."""


def harness_path(place: str, *, engine: bool = False, clock: float | None = None) -> str:
    """The harness page's path on the server; Python runs in `place`, "page", "worker" or "nowhere".

    With `engine` they hand the IndexedDB engine to Python, which otherwise loads it by itself. With `clock`, seconds by
    which that begins ahead, Python has the page's or worker's `js.putForward(milliseconds)`.
    """
    ahead = "" if clock is None else f"&clock={clock * 1000:.0f}"
    return f"/tests/browser/harness.html?in={place}" + ("&engine" if engine else "") + ahead


class PythonRuntime(Protocol):
    """Something that runs Python."""

    def run_async(self, code: str) -> Any:
        """Run `code` and return the value of its last expression."""


class HarnessTab(PythonRuntime, Protocol):
    """The harness page in a tab of a browser."""

    def open_tab(self, url: str) -> HarnessTab:
        """Another tab of the same browser, with the harness at `url`."""

    def come_to_front(self) -> None:
        """Put it where a user looks."""

    def end_worker(self) -> None:
        """End its worker, whatever that is doing."""

    def close_tab(self) -> None:
        """Close it."""


class RemoteError(Exception):
    """What was raised there; the message is the traceback from there."""


class NodeProcess:
    """A process of node that answers requests as in `browser/json_lines.mjs`."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            ["node", DRIVERS / script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def request(self, method: str, *params: str) -> Any:
        """Ask and wait for the answer. Raises `RemoteError`, also when the process ended or took too long."""
        assert self._process.stdin
        assert self._process.stdout
        watchdog = threading.Timer(CALL_SECONDS, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps({"method": method, "params": params}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
        if not line:
            raise RemoteError(f"node ended without an answer, or was killed after {CALL_SECONDS} s")
        answer = json.loads(line)
        if "error" in answer:
            raise RemoteError(answer["error"])
        return answer["result"]

    def run_async(self, code: str) -> Any:
        """Run Python there."""
        return self.request("runPython", code)

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=120)


class PlaywrightHarness:
    """The harness page in a tab of a browser that Playwright drives."""

    def __init__(self, process: NodeProcess, url: str) -> None:
        self._process = process
        self._number: str = process.request("open", url)

    def run_async(self, code: str) -> Any:
        """Run Python there."""
        return self._process.request("runPython", self._number, code)

    def open_tab(self, url: str) -> PlaywrightHarness:
        """Another tab of the same browser, with the harness at `url`."""
        return PlaywrightHarness(self._process, url)

    def come_to_front(self) -> None:
        """Put it where a user looks."""
        self._process.request("bringToFront", self._number)

    def end_worker(self) -> None:
        """End its worker, whatever that is doing."""
        self._process.request("endWorker", self._number)

    def close_tab(self) -> None:
        """Close it."""
        self._process.request("close", self._number)


class WebDriverHarness:
    """The harness page in a tab of a browser that selenium drives."""

    def __init__(self, driver: WebDriver, url: str) -> None:
        self.driver = driver
        self._window: str | None = None
        """Its window, once there are others; until then whoever drives chooses."""
        driver.set_script_timeout(CALL_SECONDS)
        self.load(url)

    def load(self, url: str) -> None:
        """Load the harness."""
        self.driver.get(url)
        # WebKitGTK says that it is there before the page's modules have run.
        WebDriverWait(self.driver, 30).until(lambda page: page.execute_script("return 'runPython' in globalThis"))

    def run_async(self, code: str) -> Any:
        """Run Python there."""
        self.come_to_front()
        result, error = self.driver.execute_async_script(
            """
            const [code, done] = arguments;
            runPython(code).then((result) => done([result ?? null, null]), (error) => done([null, error.message]));
            """,
            code,
        )
        if error is not None:
            raise RemoteError(error)
        return result

    def open_tab(self, url: str) -> WebDriverHarness:
        """Another tab of the same browser, with the harness at `url`."""
        self._window = self._window or self.driver.current_window_handle
        self.come_to_front()  # another one may be gone
        self.driver.switch_to.new_window("tab")
        tab = WebDriverHarness(self.driver, url)
        tab._window = self.driver.current_window_handle
        return tab

    def end_worker(self) -> None:
        """End its worker, whatever that is doing."""
        self.come_to_front()
        self.driver.execute_script("endWorker()")

    def close_tab(self) -> None:
        """Close it."""
        self.come_to_front()
        self.driver.close()

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Run a command of Chromium's DevTools protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    def come_to_front(self) -> None:
        """Put it where a user looks."""
        if self._window is not None:
            self.driver.switch_to.window(self._window)


@contextmanager
def node() -> Iterator[NodeProcess]:
    """Pyodide in Node."""
    process = NodeProcess("node_runtime.mjs")
    try:
        yield process
    finally:
        process.close()


@contextmanager
def playwright_browser(
    name: str, url: str, preferences: Mapping[str, Any] | None = None
) -> Iterator[PlaywrightHarness]:
    """The harness page in a browser that Playwright drives; `preferences` are Firefox's."""
    process = NodeProcess("playwright_driver.mjs", name, json.dumps(preferences or {}))
    try:
        yield PlaywrightHarness(process, url)
    finally:
        process.close()


@contextmanager
def chromium(url: str) -> Iterator[WebDriverHarness]:
    """The harness page in Chromium, where pytest-pyodide's own page won't do."""
    browsers.keep_selenium_offline()
    options = webdriver.ChromeOptions()
    for flag in ["--headless", *browsers.chromium_flags()]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options)
    try:
        yield WebDriverHarness(driver, url)
    finally:
        driver.quit()


@contextmanager
def webkit(url: str) -> Iterator[HarnessTab]:
    """The harness page in WebKitGTK, or in Playwright's WebKit where there is none."""
    executable = browsers.webkit_driver()
    if executable is None:
        with playwright_browser("webkit", url) as page:
            yield page
        return
    with webkit_gtk(executable) as driver:
        yield WebDriverHarness(driver, url)


@contextmanager
def webkit_gtk(executable: str) -> Iterator[WebDriver]:
    """WebKitGTK, driven by `executable`, on a display of its own."""
    options = webdriver.WebKitGTKOptions()
    options.binary_location = browsers.webkit_browser()
    options.add_argument("--automation")
    with Display(visible=False, manage_global_env=False) as display:
        environment = display.env() | browsers.webkit_environment()
        service = webdriver.WebKitGTKService(executable_path=executable, env=environment)
        driver = webdriver.WebKitGTK(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()


def browser(name: str, url: str) -> AbstractContextManager[HarnessTab]:
    """The harness page in "chromium", "firefox" or "webkit", each driven as on its own lane."""
    if name == "chromium":
        return chromium(url)
    if name == "webkit":
        return webkit(url)
    return playwright_browser(name, url)
