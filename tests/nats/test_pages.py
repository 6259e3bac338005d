"""A page of Chromium that works on a NATS server: what it installs, what it is told, and that it goes on."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pymailbox import open_mailbox
from pymailbox.backends.jetstream import JetStreamMailbox, snapshots
from tests.conftest import TEST_ROUTES, serve
from tests.docs import blocks
from tests.lanes import runtimes
from tests.lanes.runtimes import HarnessTab, harness_path
from tests.nats.companion import Companion
from tools.build_wheel import WHEELS, nats_wheel_name, page_wheel_name, wheel_name
from tools.nats_servers import PASSWORDS, Servers
from tools.serve import Server

pytestmark = pytest.mark.browser

SERVERS = ("one",)
SECONDS = 20.0


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of pages with an index of packages, /simple/, that has what is published for pages."""
    simple = tmp_path_factory.mktemp("simple")
    for name, wheel in (("pymailbox", page_wheel_name()), ("pymailbox-nats", nats_wheel_name())):
        (simple / name).mkdir()
        link = f'<a href="/wheels/{wheel}">{Path(wheel).name}</a>'
        (simple / name / "index.html").write_text(f"<!DOCTYPE html><title>{name}</title>{link}", "utf-8")
    routes = TEST_ROUTES | {"/simple/": simple, f"/{wheel_name()}": WHEELS / wheel_name()}
    with contextmanager(serve)(routes=routes) as server:
        yield server


@pytest.fixture(scope="module")
def servers(index: Server) -> Iterator[Servers]:
    """A NATS server to which its pages may connect, and only with a name."""
    with Servers(1, origins=[index.url], anonymous=False) as servers:
        yield servers


@pytest.fixture(scope="module")
def page(index: Server) -> Iterator[HarnessTab]:
    """A page with what `micropip.install("pymailbox[nats]")` brings."""
    with runtimes.chromium(index.url + harness_path("page")) as tab:
        install(tab, index, "pymailbox[nats]")
        yield tab


def install(tab: HarnessTab, index: Server, what: str) -> None:
    tab.run_async(f"import micropip; await micropip.install({what!r}, index_urls='{index.url}/simple')")


def told(tab: HarnessTab, location: str, connect: object = None) -> str:
    """The error that opening a mailbox raises in a page."""
    return str(
        tab.run_async(
            f"""
            from pymailbox import StorageUnavailableError, open_mailbox

            try:
                await open_mailbox({location!r}, connect={connect!r})
            except StorageUnavailableError as error:
                told = str(error)
            told
            """
        )
    )


def location_of(servers: Servers, scheme: str, stream: str) -> str:
    hosts = servers.websockets if scheme == "ws" else servers.addresses
    return f"{scheme}://{hosts}/inbox?stream={stream}"


def user(name: str) -> dict[str, object]:
    """What somebody connects with."""
    return {
        "user": name,
        "password": PASSWORDS[f"{name.upper()}_PASSWORD"],
        "inbox_prefix": f"_INBOX_{name}".encode(),
    }


def test_the_package_says_what_to_install_and_the_extra_brings_it(page: HarnessTab, index: Server) -> None:
    assert "Open ws://HOST:PORT/NAME" in told(page, "nats://127.0.0.1:1/inbox")
    tab = page.open_tab(index.url + harness_path("worker"))
    install(tab, index, "pymailbox")
    text = told(tab, "ws://127.0.0.1:1/inbox")
    assert "await micropip.install(['pymailbox-nats', 'nats-py'])" in text
    tab.run_async(f"await micropip.install(['pymailbox-nats', 'nats-py'], index_urls='{index.url}/simple')")
    assert "Open ws://HOST:PORT/NAME" in told(tab, "nats://127.0.0.1:1/inbox")
    tab.close_tab()


async def test_a_user_of_a_page_works_on_its_own_mailbox(page: HarnessTab, servers: Servers) -> None:
    async with open_mailbox(location_of(servers, "nats", "alice"), connect=user("mailboxes")) as mailbox:
        await mailbox.enqueue(b"a program", b"hello")
        page.run_async(
            f"""
            from pymailbox import open_mailbox

            location, connect = {location_of(servers, "ws", "alice")!r}, {user("alice")!r}
            async with open_mailbox(location, connect=connect) as mailbox:
                (message,) = await mailbox.dequeue(wait=20)
                assert await mailbox.ack(message.id)
                await mailbox.enqueue(b"a page", message.payload * 2)
            """
        )
        (answer,) = await mailbox.dequeue(wait=SECONDS)
        assert (answer.sender, answer.payload) == (b"a page", b"hellohello")
        await mailbox.ack(answer.id)
    assert "may not touch the subject" in told(page, location_of(servers, "ws", "bob"), user("alice"))


async def test_the_block_of_the_documentation(page: HarnessTab, index: Server, servers: Servers) -> None:
    (block,) = (block for block in blocks.read("docs/jetstream.md").blocks if block.heading.endswith("#in-a-page"))
    code = block.code.replace("wss://nats.example/", f"ws://{servers.websockets}/")
    assert code != block.code
    async with open_mailbox(location_of(servers, "nats", "alice"), connect=user("mailboxes")) as mailbox:
        tab = page.open_tab(index.url + harness_path("worker"))
        tab.run_async(f"import micropip; password = {PASSWORDS['ALICE_PASSWORD']!r}")
        tab.run_async(code)
        tab.close_tab()
        (message,) = await mailbox.dequeue(wait=SECONDS)
        assert (message.sender, message.payload) == (b"a page", b"hello")
        await mailbox.ack(message.id)


def test_a_wrong_password_is_told_at_once(page: HarnessTab, servers: Servers) -> None:
    began = time.monotonic()
    text = told(page, location_of(servers, "ws", "alice"), user("alice") | {"password": "wrong"})
    assert "refuses the connection" in text
    assert "wrong" not in text
    assert time.monotonic() - began < SECONDS / 2


def test_a_page_of_another_origin_is_told_what_may_be_wrong(page: HarnessTab, one: Servers) -> None:
    page.run_async("from pymailbox.backends.jetstream import link; link.CONNECT_TIMEOUT = 1.0")
    assert "allowed_origins" in told(page, location_of(one, "ws", "pages"))


def test_a_page_goes_on_when_the_server_is_back(page: HarnessTab, servers: Servers) -> None:
    location = location_of(servers, "ws", "pages")
    page.run_async(
        f"""
        from pymailbox import open_mailbox

        mailbox = await open_mailbox({location!r}, connect={user("mailboxes")!r})
        await mailbox.enqueue(b"", b"before")
        """
    )
    servers.servers[0].kill()
    page.run_async("import asyncio; sending = asyncio.ensure_future(mailbox.enqueue(b'', b'meanwhile'))")
    servers.start()
    counts = page.run_async(
        """
        await sending
        received = [message.payload.decode() for message in await mailbox.dequeue()]
        await mailbox.close()
        " ".join(received)
        """
    )
    assert counts == "before meanwhile"


@pytest.mark.parametrize("told", ["globalThis.dispatchEvent(new Event('online'))", "a call"])
def test_a_page_that_was_offline_for_long_is_back_at_once(told: str, page: HarnessTab, servers: Servers) -> None:
    """When it goes online, or somebody wants something; else it waits longer and longer."""
    page.run_async(
        f"""
        import asyncio
        from pymailbox import open_mailbox
        from pymailbox.backends.jetstream import client

        mailbox = await open_mailbox({location_of(servers, "ws", "pages")!r}, connect={user("mailboxes")!r})
        pauses = client._GROWTH, client._LONGEST_PAUSE
        client._GROWTH, client._LONGEST_PAUSE = 6000.0, 600.0

        async def until(reached):
            async with asyncio.timeout({SECONDS}):
                while not reached(mailbox._link):
                    await asyncio.sleep(0.01)
        """
    )
    servers.servers[0].kill()
    page.run_async("await until(lambda link: link._nc._attempts == 2)  # and it waits before the second")
    servers.start()
    page.run_async("await asyncio.sleep(1); assert not mailbox._link.is_connected")
    if told == "a call":
        page.run_async("await mailbox.enqueue(b'', b'back')")
    else:
        page.run_async(
            f"from pyodide.code import run_js; run_js({told!r}); await until(lambda link: link.is_connected)"
        )
    page.run_async(
        """
        client._GROWTH, client._LONGEST_PAUSE = pauses
        await mailbox.purge()
        await mailbox.close()
        """
    )


async def test_a_page_has_the_same_state_byte_by_byte(page: HarnessTab, servers: Servers) -> None:
    """It follows the log of a program, and works as well, while the server is killed and snapshots are written."""
    page.run_async(
        f"""
        import hashlib
        from pymailbox import NewMessage, open_mailbox
        from pymailbox.backends.jetstream import snapshots

        mailbox = await open_mailbox({location_of(servers, "ws", "followed")!r}, connect={user("mailboxes")!r})
        await mailbox.status()
        """
    )
    location = location_of(servers, "nats", "followed")
    async with open_mailbox(location, connect=user("mailboxes")) as mailbox:
        assert isinstance(mailbox, JetStreamMailbox)
        program = Companion(mailbox)
        for seed in range(4):
            await program.work(seed, 12)
            page.run_async(
                """
                await mailbox.enqueue_many([NewMessage(b"a page", bytes(size)) for size in range(0, 2000, 100)])
                for record in await mailbox.dequeue(6):
                    again = record.delivery_count < 2
                    await (mailbox.nack(record.id, error="später") if again else mailbox.ack(record.id))
                """
            )
            if seed == 1:
                servers.servers[0].kill()
                servers.start()
            elif seed == 2:
                await mailbox._replica.write_snapshot()
            else:
                page.run_async("await mailbox._replica.write_snapshot()")
        seq, theirs = page.run_async(
            """
            await mailbox.status()
            log = mailbox._replica.log
            f"{log.seq} {hashlib.sha256(snapshots.encode(log)).hexdigest()}"
            """
        ).split()
        log = mailbox._replica.log
        async with asyncio.timeout(SECONDS):
            while log.seq < int(seq):  # noqa: ASYNC110  nothing tells
                await asyncio.sleep(0.01)
        assert f"{log.seq} {hashlib.sha256(snapshots.encode(log)).hexdigest()}" == f"{seq} {theirs}"
        page.run_async("await mailbox.close()")
