"""Under the strictest policy that Pyodide runs under, the page or the worker hands the engine to Python itself."""

from collections.abc import Iterator

import pytest

from tests.conftest import serve
from tests.lanes import runtimes
from tests.lanes.in_pyodide import install_wheel
from tests.lanes.runtimes import HarnessTab, PythonRuntime, RemoteError
from tools.serve import Server

pytestmark = pytest.mark.browser

POLICY = "script-src 'self' 'wasm-unsafe-eval'"

SEND_AND_RECEIVE = """
from pymailbox import open_mailbox

async with open_mailbox("indexeddb://csp") as mailbox:
    await mailbox.enqueue(b"alice", b"hello")
    (message,) = await mailbox.dequeue()
    await mailbox.ack(message.id)
message.payload.decode()
"""


@pytest.fixture(scope="module")
def strict_server() -> Iterator[Server]:
    """The tests' server, with the policy in every answer."""
    yield from serve(POLICY)


@pytest.fixture(scope="module", params=["chromium", "firefox", "webkit"])
def browser(request: pytest.FixtureRequest, strict_server: Server) -> Iterator[HarnessTab]:
    """One for the page and the worker."""
    with runtimes.browser(request.param, strict_server.url + runtimes.harness_path("nowhere")) as tab:
        yield tab


@pytest.fixture(scope="module")
def python(browser: HarnessTab, place: str, strict_server: Server) -> Iterator[PythonRuntime]:
    """Pyodide under the policy, with the engine handed over and the wheel installed."""
    tab = browser.open_tab(strict_server.url + runtimes.harness_path(place, engine=True))
    install_wheel(tab, strict_server)
    yield tab
    tab.close_tab()


def test_policy_is_in_force(python: PythonRuntime) -> None:
    with pytest.raises(RemoteError, match=r"EvalError|unsafe-eval|call to eval|Content Security Policy"):
        python.run_async("from pyodide.code import run_js; run_js('1 + 1')")


def test_engine_that_was_handed_over_works(python: PythonRuntime) -> None:
    assert python.run_async(SEND_AND_RECEIVE) == "hello"


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
def test_engine_that_was_not_handed_over_is_a_clear_error(browser: HarnessTab, strict_server: Server) -> None:
    tab = browser.open_tab(strict_server.url + runtimes.harness_path("worker"))
    install_wheel(tab, strict_server)
    with pytest.raises(RemoteError, match=r"StorageUnavailableError: .*registerJsModule"):
        tab.run_async(SEND_AND_RECEIVE)
    tab.close_tab()
