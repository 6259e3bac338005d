"""Mailboxes as downloads and uploads."""

from datetime import timedelta
from uuid import uuid4

from pyodide.code import run_js
from pyodide.ffi import to_js

from js import Blob, Object, location
from pymailbox import MessagePriority, NewMessage, export, import_, open_mailbox
from pymailbox.transfer.browser import pieces_of, to_blob

_IN_JAVASCRIPT = """
  async (url, from, to, blob) => {
    const { exportMailbox, importMailbox, openMailbox } = await import(url);
    const [source, target] = [await openMailbox(from), await openMailbox(to)];
    const text = await new Response(exportMailbox(source)).text();
    const report = await importMailbox(target, blob);
    await Promise.all([source.close(), target.close()]);
    return [text, report.stored, report.complete, report.refused.length];
  }
"""


async def check_mailbox_goes_through_a_download_and_an_upload() -> None:
    """Three MiB, in several pieces: everything comes back, dead letters too, and a broken line is named."""
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


async def check_each_language_reads_what_the_other_writes() -> None:
    """JavaScript and Python write the same bytes of a mailbox, and import the same from them."""
    names = [f"transfer-{uuid4()}" for _ in range(3)]
    async with open_mailbox(names[0], max_deliveries=9) as mailbox, open_mailbox(names[2]) as target:
        for number in range(600):
            await mailbox.enqueue(bytes([number % 256]), b"x" * number, MessagePriority(number % 2))
        known = uuid4()
        await mailbox.enqueue(b"", b"", message_id=known, dedupe_for=600, headers={"b": "\u00e9", "a": "\U0001f643"})
        await mailbox.enqueue(b"", b"later", delay=timedelta(days=1))
        [dead, failed, held, *_] = await mailbox.dequeue(5)
        await mailbox.dead_letter(dead.id, "on purpose \x7f")
        await mailbox.nack(failed.id, error="no\n\u00e9")
        await mailbox.nack(held.id, error="not now", failed=False)
        written = b"".join([line async for line in export(mailbox)])
        js_outcome = await run_js(_IN_JAVASCRIPT)(
            f"{location.origin}/js/index.js", names[0], names[1], await to_blob(mailbox)
        )
        text, stored, complete, refused = js_outcome
        assert text.encode() == written
        assert (stored, complete, refused) == (602, True, 0)
        report = await import_(target, text)
        assert (report.stored, report.complete, report.refused) == (602, True, [])
        async with open_mailbox(names[1]) as other:
            lines = [b"".join([line async for line in export(each)]) for each in (other, target)]
            assert lines[0] == lines[1]
            for each in (mailbox, other, target):
                await each.ack(known)
                await each.enqueue(b"", b"again", message_id=known)
                assert await each.get(known) is None
