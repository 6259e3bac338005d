"""Threads that share a mailbox on a server, without ``await``."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from pymailbox import NewMessage, sync
from tools.nats_servers import Servers

COUNT = 200
SECONDS = 30.0


def test_each_message_is_handled_once_though_the_server_is_killed(one: Servers, stream: str) -> None:
    location = one.location("inbox", stream)
    handled: list[bytes] = []
    half = threading.Event()
    until = time.monotonic() + 2 * SECONDS
    with sync.open_mailbox(location) as mailbox, sync.open_mailbox(one.location("outbox", stream)) as outbox:

        def send(first: int) -> None:
            for number in range(first, COUNT, 4):
                mailbox.enqueue(b"", b"%d" % number)

        def work(_: int) -> None:
            with sync.open_mailbox(location) as mine:
                while len(handled) < COUNT and time.monotonic() < until:
                    for record in mine.dequeue(5, wait=2.0):
                        assert mine.ack_and_send(record.id, [(outbox, NewMessage(b"", record.payload))])
                        handled.append(record.payload)
                    if len(handled) > COUNT // 2:
                        half.set()

        with ThreadPoolExecutor(8) as threads:
            tasks = [threads.submit(send, first) for first in range(4)]
            tasks += [threads.submit(work, number) for number in range(4)]
            assert half.wait(SECONDS)
            one.servers[0].kill()
            one.start()
            for task in tasks:
                task.result(SECONDS)
        assert sorted(map(int, handled)) == list(range(COUNT))
        assert sorted(int(record.payload) for record in outbox.dequeue(COUNT)) == list(range(COUNT))
