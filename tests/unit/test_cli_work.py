"""``pymailbox work`` in separate processes, which get signals; what it refuses to do, in this one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymailbox import MailboxStats, NewMessage, open_mailbox
from tests.command_line import Run, runner

ROOT = Path(__file__).parents[2]
TIMEOUT = 60
"""Seconds for a process to do next to nothing."""

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")

TASKS = """
import asyncio, sys, time

def say(text):
    sys.stdout.write(f"{text}\\n")  # in one piece: several threads write
    sys.stdout.flush()

async def handle(message, context):
    say(f"begins {message.payload.decode()}")
    if message.payload == b"fails":
        raise ValueError("it fails")
    if message.payload == b"last":
        context.stop()
    seconds = float(message.payload) if message.payload[:1].isdigit() else 0
    await asyncio.sleep(seconds)
    say(f"ends {message.payload.decode()}")

def blocks(message, context):
    say(f"begins {message.payload.decode()}")
    if message.payload == b"last":
        context.stop()
    if message.payload.startswith(b"exit"):
        sys.exit({b"exit 7": 7, b"exit": None}.get(message.payload, "there is no configuration"))
    time.sleep(float(message.payload) if message.payload[:1].isdigit() else 0)
    say(f"ends {message.payload.decode()}")

behind_a_decorator = lambda message, context: handle(message, context)

async def blocks_the_loop(message):
    say("begins")
    time.sleep(60)

def sends(message, context):
    context.mailbox.enqueue(b"", b"by itself")
    context.send(context.mailbox, b"", b"with the acknowledgement", delay=60)
    context.stop()

class Service:
    @staticmethod
    async def handle(message):
        say("service")

number = 5
def takes_nothing(): pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS, "utf-8")
    (tmp_path / "broken.py").write_text("import tasks\nraise RuntimeError('out of order')", "utf-8")
    (tmp_path / "needs.py").write_text("import what_nobody_has", "utf-8")
    (tmp_path / "unfinished.py").write_text("def handle(message", "utf-8")
    (tmp_path / "exits.py").write_text("import sys; sys.exit(3)", "utf-8")
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command in the folder; what it imports from there is forgotten."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield runner(monkeypatch, capsys)
    for module in folder.glob("*.py"):
        sys.modules.pop(module.stem, None)


class Worker:
    """A working process."""

    def __init__(self, folder: Path, *arguments: str, ignoring_sigint: bool = False) -> None:
        def ignore() -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

        self._folder = folder
        with (folder / "stderr").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pymailbox", "work", *arguments],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                preexec_fn=ignore if ignoring_sigint else None,
            )

    def wait_for(self, text: str) -> None:
        """Waits until it has written that to its standard error."""
        while text not in self.errors:
            self.look_again()

    def look_again(self) -> None:
        """Waits a moment for something; it must not have ended."""
        assert self.process.poll() is None, self.errors
        time.sleep(0.01)

    def expect(self, *lines: str) -> None:
        """Waits for lines, which may come in any order."""
        assert self.process.stdout is not None
        assert {self.process.stdout.readline().strip() for _ in lines} == set(lines), self.errors

    def end(self) -> tuple[int, str]:
        """Its exit code, and the rest of its output."""
        out, _ = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, out

    @property
    def errors(self) -> str:
        return (self._folder / "stderr").read_text("utf-8")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    workers: list[Worker] = []
    yield workers
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.kill()
        worker.process.communicate()


def fill(folder: Path, *payloads: bytes) -> None:
    async def main() -> None:
        async with open_mailbox(folder / "jobs.db") as mailbox:
            await mailbox.enqueue_many([NewMessage(b"", payload) for payload in payloads])

    asyncio.run(main())


def left(folder: Path) -> tuple[MailboxStats, list[tuple[bytes, int]]]:
    """What is in the mailbox, and how often each was handed out before."""

    async def main() -> tuple[MailboxStats, list[tuple[bytes, int]]]:
        async with open_mailbox(folder / "jobs.db", max_deliveries=1) as mailbox:
            stats = await mailbox.status()
            return stats, [(record.payload, record.delivery_count) for record in await mailbox.peek(100)]

    return asyncio.run(main())


@pytest.mark.parametrize("handler", ["tasks:handle", "tasks:blocks", "tasks:behind_a_decorator"])
@pytest.mark.parametrize("concurrency", ["1", "3"])
def test_messages_are_handled_until_a_handler_stops_it(
    folder: Path, workers: list[Worker], handler: str, concurrency: str
) -> None:
    fill(folder, b"a", b"b", b"last")
    workers.append(worker := Worker(folder, handler, "jobs.db", "--concurrency", concurrency))
    code, out = worker.end()
    assert (code, set(out.split("\n"))) == (
        0,
        {"begins a", "ends a", "begins b", "ends b", "begins last", "ends last", ""},
    )
    assert "tasks:" in worker.errors
    assert "works on jobs.db#default" in worker.errors
    assert left(folder)[1] == []


def test_file_is_made_and_messages_come_later(folder: Path, workers: list[Worker]) -> None:
    workers.append(worker := Worker(folder, "tasks:Service.handle", "jobs.db#default"))
    while not (folder / "jobs.db").exists():
        worker.look_again()
    fill(folder, b"x")
    worker.expect("service")


def test_synchronous_handler_has_a_context_without_await(folder: Path, workers: list[Worker]) -> None:
    fill(folder, b"x")
    workers.append(worker := Worker(folder, "tasks:sends", "jobs.db"))
    assert worker.end() == (0, "")
    assert left(folder)[1] == [(b"by itself", 0), (b"with the acknowledgement", 0)]


def test_failures_are_logged_and_become_dead_letters(folder: Path, workers: list[Worker]) -> None:
    fill(folder, b"fails", b"last")
    workers.append(worker := Worker(folder, "tasks:handle", "jobs.db", "--max-deliveries", "1", "--ordered-by-sender"))
    assert worker.end() == (0, "begins fails\nbegins last\nends last\n")
    assert left(folder)[0].dead_letters == 1
    assert "it fails" in worker.errors


def test_call_that_takes_too_long_has_failed(folder: Path, workers: list[Worker]) -> None:
    fill(folder, b"50", b"last")
    options = ("--timeout", "0.2", "--max-deliveries", "1")
    workers.append(worker := Worker(folder, "tasks:handle", "jobs.db", *options))
    assert worker.end() == (0, "begins 50\nbegins last\nends last\n")
    assert left(folder)[0].dead_letters == 1


@pytest.mark.parametrize(
    ("handler", "seconds", "words"),
    [
        ("tasks:blocks", "5", "--timeout is for async handlers: tasks:blocks"),
        ("tasks:handle", "0", "--timeout must be more than 0 seconds"),
        ("tasks:handle", "soon", "--timeout"),
    ],
)
def test_bad_timeout_is_named(folder: Path, run: Run, handler: str, seconds: str, words: str) -> None:
    fill(folder, b"x")
    code, out, errors = run("work", handler, "jobs.db", "--timeout", seconds)
    assert (code, out) == (2, "")
    assert words in errors
    assert left(folder)[1] == [(b"x", 0)]


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [(b"exit 7", 7, ""), (b"exit", 0, ""), (b"exit in words", 1, "pymailbox: there is no configuration\n")],
)
def test_exit_of_a_handler_is_the_exit_code(
    folder: Path, workers: list[Worker], payload: bytes, code: int, words: str
) -> None:
    fill(folder, payload)
    workers.append(worker := Worker(folder, "tasks:blocks", "jobs.db"))
    assert worker.end() == (code, f"begins {payload.decode()}\n")
    assert worker.errors.partition("\n")[2] == words
    assert left(folder)[1] == [(payload, 0)]


@needs_signals
@pytest.mark.parametrize("handler", ["tasks:handle", "tasks:blocks"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_lets_what_runs_finish(
    folder: Path, workers: list[Worker], handler: str, number: signal.Signals
) -> None:
    fill(folder, b"1.0", b"0.1", b"0.2")
    workers.append(worker := Worker(folder, handler, "jobs.db", ignoring_sigint=True))
    worker.expect("begins 1.0")
    worker.signal(number)
    assert worker.end() == (0, "ends 1.0\n")
    assert left(folder)[1] == [(b"0.1", 0), (b"0.2", 0)]
    assert "the handler that runs has 8 s to finish" in worker.errors


@needs_signals
@pytest.mark.parametrize("handler", ["tasks:handle", "tasks:blocks"])
def test_what_does_not_finish_within_the_grace_goes_back_unblamed(
    folder: Path, workers: list[Worker], handler: str
) -> None:
    fill(folder, b"50", b"51", b"52")
    workers.append(
        worker := Worker(folder, handler, "jobs.db", "--concurrency", "2", "--grace", "0.2", "--max-deliveries", "1")
    )
    worker.expect("begins 50", "begins 51")
    worker.signal(signal.SIGTERM)
    assert worker.end() == (1, "")
    stats, messages = left(folder)
    assert (stats.dead_letters, messages) == (0, [(b"50", 0), (b"51", 0), (b"52", 0)])
    assert "2 handlers did not finish within 0.2 s; the messages went back" in worker.errors


@needs_signals
@pytest.mark.parametrize("handler", ["tasks:handle", "tasks:blocks"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_it_at_once(
    folder: Path, workers: list[Worker], handler: str, number: signal.Signals
) -> None:
    fill(folder, b"50")
    workers.append(worker := Worker(folder, handler, "jobs.db", "--max-deliveries", "1", "--grace", "50"))
    worker.expect("begins 50")
    worker.signal(signal.SIGTERM)
    worker.wait_for("another signal")
    worker.signal(number)
    assert worker.end() == (128 + number, "")
    stats, messages = left(folder)
    assert (stats.dead_letters, messages) == (0, [(b"50", 0)])


@needs_signals
def test_handler_that_blocks_the_event_loop_does_not_keep_it_alive(folder: Path, workers: list[Worker]) -> None:
    fill(folder, b"x")
    workers.append(worker := Worker(folder, "tasks:blocks_the_loop", "jobs.db", "--grace", "0"))
    worker.expect("begins")
    worker.signal(signal.SIGTERM)
    assert worker.end() == (1, "")
    assert "blocks the event loop" in worker.errors
    assert left(folder)[0].queued_messages == 1


@needs_signals
def test_idle_worker_stops_at_a_signal(folder: Path, workers: list[Worker]) -> None:
    workers.append(worker := Worker(folder, "tasks:handle", "jobs.db"))
    worker.wait_for("works on")
    worker.signal(signal.SIGTERM)
    assert worker.end() == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tasks", "jobs.db"), "MODULE:HANDLER must look like tasks:handle, not 'tasks'"),
        (("tasks.py:handle", "jobs.db"), "MODULE:HANDLER tasks.py:handle: there is no module tasks.py"),
        (("./tasks.py:handle", "jobs.db"), "not './tasks.py:handle'. Leave '.py' out"),
        ((":handle", "jobs.db"), "MODULE:HANDLER must look like"),
        (("missing:handle", "jobs.db"), "MODULE:HANDLER missing:handle: there is no module missing in"),
        (("tasks:handel", "jobs.db"), "MODULE:HANDLER tasks:handel: tasks has no handel. Did you mean handle?"),
        (("tasks:Service.nothing", "jobs.db"), "tasks has no Service.nothing"),
        (("tasks:number", "jobs.db"), "MODULE:HANDLER tasks:number: handler must be a function, not int"),
        (("tasks:takes_nothing", "jobs.db"), "handler must take a message"),
        (("broken:handle", "jobs.db"), "broken cannot be imported (RuntimeError: out of order)"),
        (("needs:handle", "jobs.db"), "needs cannot be imported (ModuleNotFoundError: No module named"),
        (("unfinished:handle", "jobs.db"), "unfinished cannot be imported (SyntaxError: "),
        (("exits:handle", "jobs.db"), "exits cannot be imported (SystemExit: 3)"),
        (("tasks:handle", "memory://x"), "the command line works on SQLite files"),
        (("tasks:handle", "jobs.db", "--concurrency", "0"), "--concurrency: must be a whole number"),
        (("tasks:handle", "jobs.db", "--grace", "-1"), "--grace: must be a number of seconds"),
        (("tasks:handle",), "the following arguments are required: LOCATION"),
    ],
)
def test_bad_arguments_do_nothing(folder: Path, run: Run, arguments: tuple[str, ...], words: str) -> None:
    code, out, errors = run("work", *arguments)
    assert (code, out) == (2, "")
    assert words in errors
    assert not (folder / "jobs.db").exists()
