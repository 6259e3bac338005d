"""Under the strictest policy that Pyodide runs under, the page or the worker hands the engine to Python itself."""

from collections.abc import Iterator

import pytest

from tests.conftest import serve
from tests.lanes import runtimes
from tests.lanes.in_pyodide import install_wheel
from tests.lanes.runtimes import PythonRuntime, RemoteError
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
def python(request: pytest.FixtureRequest, place: str, strict_server: Server) -> Iterator[PythonRuntime]:
    """Pyodide under the policy, with the engine handed over and the wheel installed."""
    url = strict_server.url + runtimes.harness_path(place, engine=True)
    with runtimes.browser(request.param, url) as python:
        install_wheel(python, strict_server)
        yield python


def test_policy_is_in_force(python: PythonRuntime) -> None:
    with pytest.raises(RemoteError, match=r"EvalError|unsafe-eval|call to eval|Content Security Policy"):
        python.run_async("from pyodide.code import run_js; run_js('1 + 1')")


def test_engine_that_was_handed_over_works(python: PythonRuntime) -> None:
    assert python.run_async(SEND_AND_RECEIVE) == "hello"


def test_engine_that_was_not_handed_over_is_a_clear_error(strict_server: Server) -> None:
    with runtimes.chromium(strict_server.url + runtimes.harness_path("worker")) as python:
        install_wheel(python, strict_server)
        with pytest.raises(RemoteError, match=r"StorageUnavailableError: .*registerJsModule"):
            python.run_async(SEND_AND_RECEIVE)
