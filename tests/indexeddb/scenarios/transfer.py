"""Mailboxes as downloads and uploads."""

from uuid import uuid4

from pyodide.ffi import to_js

from js import Blob, Object
from pymailbox import MessagePriority, NewMessage, import_, open_mailbox
from pymailbox.transfer.browser import pieces_of, to_blob


async def check_mailbox_goes_through_a_download_and_an_upload() -> None:
    """Three MiB, in several pieces: all comes back, dead letters too, and a broken line is named."""
    names = [f"transfer-{uuid4()}" for _ in range(2)]
    async with open_mailbox(names[0]) as mailbox, open_mailbox(names[1]) as target:
        ids = await mailbox.enqueue_many(
            NewMessage(b"\xff", bytes([number]) * 1_000, MessagePriority(number % 2)) for number in range(200)
        )
        await mailbox.enqueue(b"", bytes(2 * 1024 * 1024))
        [record] = await mailbox.dequeue(1)
        await mailbox.dead_letter(record.id, "on purpose")
        letters = await mailbox.dead_letters()
        js_blob = await to_blob(mailbox)
        assert js_blob.type == "application/x-ndjson", js_blob.type
        assert js_blob.size > 3_000_000, js_blob.size
        # as a visitor's editor might leave it
        js_edited = Blob.new(
            to_js([js_blob.slice(0, 42), b"junk\n", js_blob.slice(42)]), to_js({}, dict_converter=Object.fromEntries)
        )
        report = await import_(target, pieces_of(js_edited))
        assert [(refused.line, report.stored) for refused in report.refused] == [(2, 201)], report
        assert await target.dead_letters() == letters
        stats = await target.status()
        assert (stats.queued_messages, stats.dead_letters) == (200, 1), stats
        report = await import_(target, pieces_of(js_blob))
        assert (report.already_there, report.complete) == (201, True), report
        assert record.id in ids
