"""Runs random programs for as long as asked: `python -m tools.soak --backend sqlite --seconds 3600`.

A failure names its seed and ends the run; `--seed` runs that program again. With `--browser` the programs run in a page
(or a module worker) of that browser, on the built wheel.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pymailbox import Mailbox, open_mailbox
from pymailbox.testing import MailboxFactory, ProgramFailure, factory_at, run_program
from tools.nats_servers import Servers

PROGRAMS_IN_A_CALL = 10
"""How many programs a browser runs between two requests."""

REPORT_SECONDS = 10.0


class FailedError(Exception):
    """A program failed; the text has everything there is to know."""


def main() -> None:
    """Runs programs, and prints how many there were."""
    arguments = _parser().parse_args()
    first = random.SystemRandom().randrange(10**9) if arguments.seed is None else arguments.seed
    where = f"{arguments.backend} in {arguments.browser or 'CPython'}"
    print(f"{where}: from seed {first}", flush=True)
    begun = reported = time.monotonic()
    seed = first
    with _runner(arguments) as run:
        while True:
            size = PROGRAMS_IN_A_CALL if arguments.seed is None else 1
            try:
                run(range(seed, seed + size))
            except FailedError as failure:
                raise SystemExit(f"{failure}\n{where}: repeat the failure with the seed that it names") from None
            seed += size
            elapsed = time.monotonic() - begun
            over = arguments.seed is not None or elapsed >= arguments.seconds
            if over or time.monotonic() - reported >= REPORT_SECONDS:
                reported = time.monotonic()
                print(f"{where}: {seed - first} programs passed in {elapsed:.0f} s", flush=True)
            if over:
                return


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="memory", choices=["memory", "sqlite", "indexeddb", "jetstream"])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="run only the program of this seed")
    parser.add_argument("--browser", choices=["chromium", "firefox", "webkit"])
    parser.add_argument("--place", default="page", choices=["page", "worker"])
    return parser


@contextmanager
def _runner(arguments: argparse.Namespace) -> Iterator[Callable[[range], None]]:
    """A function that runs the programs of some seeds."""
    if arguments.browser is not None:
        with _browser(arguments.browser, arguments.place, arguments.backend) as run:
            yield run
        return
    with _factory(arguments.backend) as factory:
        yield lambda seeds: asyncio.run(_run_here(factory, seeds))


@contextmanager
def _factory(backend: str) -> Iterator[MailboxFactory]:
    """The function that opens mailboxes on CPython."""
    if backend == "jetstream":
        with Servers(1) as servers:
            yield _factory_on(servers)
        return
    with tempfile.TemporaryDirectory() as directory:
        yield factory_at(_location(backend, directory))


def _factory_on(servers: Servers) -> MailboxFactory:
    async def open_named(name: str, **options: Any) -> Mailbox:
        return await open_mailbox(servers.location(name), **options)

    return open_named


async def _run_here(factory: MailboxFactory, seeds: range) -> None:
    for seed in seeds:
        try:
            await run_program(factory, seed)
        except ProgramFailure as failure:
            raise FailedError(str(failure)) from failure


@contextmanager
def _browser(name: str, place: str, backend: str) -> Iterator[Callable[[range], None]]:
    from tests.conftest import TEST_ROUTES
    from tests.lanes import runtimes
    from tools import browsers
    from tools.build_wheel import wheel_name
    from tools.serve import Server

    browsers.keep_selenium_offline()
    with Server(0, TEST_ROUTES, None) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with runtimes.browser(name, server.url + runtimes.harness_path(place)) as python:
            python.run_async(f"import micropip; await micropip.install('{server.url}/wheels/{wheel_name()}')")

            def run(seeds: range) -> None:
                failure = python.run_async(_code(_location(backend, "/tmp"), seeds))
                if failure:
                    raise FailedError(failure)

            yield run
        server.shutdown()


def _code(location: str, seeds: range) -> str:
    """Python code that runs the programs, and returns the text of a failure or nothing."""
    return f"""
from pymailbox.testing import ProgramFailure, factory_at, run_program

text = ""
for seed in range({seeds.start}, {seeds.stop}):
    try:
        await run_program(factory_at({location!r}), seed)
    except ProgramFailure as failure:
        text = str(failure)
        break
text
"""


def _location(backend: str, directory: str) -> str:
    return f"sqlite:///{directory}/soak.db#" if backend == "sqlite" else f"{backend}://"


if __name__ == "__main__":
    main()
