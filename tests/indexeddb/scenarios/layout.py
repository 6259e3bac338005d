"""An example of a layout: made once by the library that wrote it, kept as JSON, and read by every later one."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID

from pymailbox import MessagePriority, NewMessage, StorageCorruptError
from tests.indexeddb.scenarios.support import drain, foreign, new_context, raised, script

EXAMPLES = Path(__file__).parent.parent / "data"

FAR = 50 * 365.25 * 24 * 3600.0
"""Seconds of a delay that outlasts every test."""

_CODEC = """
const encode = (value) => {
  if (value instanceof ArrayBuffer) return encode(new Uint8Array(value));
  if (value instanceof Uint8Array) return { $bytes: btoa(String.fromCharCode(...value)) };
  if (value === undefined || value === Infinity) return { $literal: String(value) };
  if (Array.isArray(value)) return value.map(encode);
  if (typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, encode(part)]));
};
const decode = (value) => {
  if (Array.isArray(value)) return value.map(decode);
  if (typeof value !== "object" || value === null) return value;
  if ("$bytes" in value) return Uint8Array.from(atob(value.$bytes), (letter) => letter.charCodeAt(0));
  if ("$literal" in value) return value.$literal === "Infinity" ? Infinity : undefined;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, decode(part)]));
};
"""


async def make_example() -> str:
    """Fills two mailboxes with every kind of message; gives all records and what should come out of them, as JSON."""
    here, dying, dying_too = await new_context(), await new_context(), await new_context()
    inbox = await here.open("inbox", max_deliveries=2)
    high, normal = MessagePriority.HIGH, MessagePriority.NORMAL

    # dead letters: by hand, from too many failures with an error, and one with a custom id
    for payload, given in ((b"bad", None), (b"failing", None), (b"bad and named", UUID(int=1))):
        await inbox.enqueue(b"alice", payload, message_id=given)
    bad, failing, named = await inbox.dequeue()
    assert await inbox.dead_letter(bad.id, "cannot be parsed")
    assert await inbox.nack(failing.id, error="first")
    (failing,) = await inbox.dequeue()
    assert await inbox.nack(failing.id, error="second: ünïcode")
    assert await inbox.dead_letter(named.id, "no such order")
    # redriven: the end of its priority, and a custom id from then on
    await inbox.enqueue(b"alice", b"redriven")
    (redriven,) = await inbox.dequeue()
    assert await inbox.dead_letter(redriven.id, "in vain")
    assert await inbox.redrive(redriven.id)

    # in flight, with two holders that will be dead: a batch, and one alone
    doomed, doomed_too = await dying.open("inbox"), await dying_too.open("inbox", max_deliveries=5)
    await inbox.enqueue(b"bob", b"in flight, high", high)
    await inbox.enqueue_many([NewMessage(b"bob", b"in flight %d" % i) for i in range(2)])
    batch = await doomed.dequeue(3)
    (alone,) = await doomed_too.dequeue(1)

    # queued: many in one commit, some with custom ids, a large one, a failed one, holes where some were acknowledged
    for i in range(3):
        await inbox.enqueue(b"carol", b"high %d" % i, high, message_id=UUID(int=100 + i) if i == 1 else None)
    many = await inbox.enqueue_many([NewMessage(b"", b"many %d" % i) for i in range(300)])
    assert await inbox.ack_many(many[50:250:3]) == 67
    await inbox.enqueue(bytes(range(256)), bytes(range(256)) * 200)
    await inbox.enqueue(b"carol", b"", normal, message_id=UUID(int=200))
    await inbox.enqueue(b"carol", b"failed once", high)
    taken = await inbox.dequeue(4)
    assert await inbox.nack(taken[-1].id, error="not yet")
    await inbox._release([record.id for record in taken[:-1]])

    # delayed: for a moment, and for decades; by an enqueue and by a nack
    await inbox.enqueue(b"dave", b"soon", delay=0.5)
    await inbox.enqueue(b"dave", b"far", delay=FAR)
    await inbox.enqueue(b"dave", b"far and named", high, message_id=UUID(int=300), delay=FAR)
    await inbox.enqueue(b"dave", b"put off", high)
    (*others, put_off) = await inbox.dequeue(5)
    assert put_off.payload == b"put off"
    assert await inbox.nack(put_off.id, delay=FAR, error="busy")
    await inbox._release([record.id for record in others])

    outbox = await here.open("outbox ✉")
    await outbox.enqueue_many([NewMessage(b"erin", b"out %d" % i, MessagePriority(i % 2)) for i in range(4)])

    # given back by a page that was left, with a note that nobody has read yet
    leaving = await (await new_context()).open("inbox")
    (left,) = await leaving.dequeue(1)
    ((holder, of),) = leaving._js_handle.releaseOnUnload()  # type: ignore[attr-defined]
    await foreign("await done(store('notes').put(of, holder))", holder=holder, of=of)

    shown = {name: await _shown(mailbox) for name, mailbox in (("inbox", inbox), ("outbox ✉", outbox))}
    assert {record.id for record in [*batch, alone]} <= {UUID(record["id"]) for record in shown["inbox"]["records"]}
    shown["inbox"]["left"] = str(left.id)
    stores = json.loads(
        await foreign(
            _CODEC
            + """
            const stores = {};
            for (const name of db.objectStoreNames) {
              const indexes = [...store(name).indexNames].map((index) => {
                const { keyPath, unique } = store(name).index(index);
                return { name: index, keyPath, unique };
              });
              // the reserve is a megabyte that says nothing
              const kept = (await rows(name)).filter(({ key }) => key !== "reserve");
              stores[name] = { indexes, rows: kept.map(({ key, value }) => [encode(key), encode(value)]) };
            }
            return JSON.stringify(stores);
            """
        )
    )
    version = await foreign("return db.version")
    for mailbox in (inbox, doomed, doomed_too, leaving, outbox):
        await mailbox.close()
    return json.dumps({"version": version, "stores": stores, "expected": shown}, ensure_ascii=False, indent=1)


async def check_first_layout_comes_out_whole() -> None:
    await _comes_out_whole(_example(1))


async def check_second_layout_comes_out_whole() -> None:
    await _comes_out_whole(_example(2))


async def check_third_layout_comes_out_whole() -> None:
    await _comes_out_whole(_example(3))


async def check_third_layout_that_lost_what_says_which_it_is() -> None:
    """Something else deleted `meta`; the note is still in the store with the older name."""
    example = _example(3)
    del example["stores"]["meta"]
    await _comes_out_whole(example)


async def check_fourth_layout_comes_out_whole() -> None:
    await _comes_out_whole(_example(4))


async def check_example_of_this_layout_can_be_made() -> None:
    await foreign("db.close(); await done(indexedDB.deleteDatabase('pymailbox'));")
    await _comes_out_whole(json.loads(await make_example()))


async def check_first_layout_that_was_mended_comes_out_whole() -> None:
    """Its version was then above the layout, and a row recorded the layout."""
    for version in (2, 5):
        example = _example(1)
        example["version"] = version
        example["stores"]["meta"]["rows"].append(["layout", 1])
        await _comes_out_whole(example)


async def check_mailbox_that_cannot_be_read_keeps_no_other_from_the_upgrade() -> None:
    """It stays as it is, and using it gives an error."""
    for layout in (1, 2):
        example = _example(layout)
        (key, row) = example["stores"]["mailboxes"]["rows"][0]
        assert key == "inbox"
        example["stores"]["mailboxes"]["rows"][0] = [key, {"number": row["number"], "written by": "another script"}]
        await _load(example)
        here = await new_context()
        async with await here.open("outbox ✉") as mailbox:
            assert len(await drain(mailbox)) == len(example["expected"]["outbox ✉"]["records"])
        error = await raised(here.open("inbox"))
        assert isinstance(error, StorageCorruptError), error


async def check_first_layout_without_its_due_times() -> None:
    """Something else deleted their store: delayed messages come when the first of them is due, and nothing is lost."""
    example = _example(1)
    del example["stores"]["delayed"]
    await _load(example)
    async with await (await new_context()).open("inbox") as mailbox:
        expected = [record["id"] for record in example["expected"]["inbox"]["records"]]
        taken = [str(record.id) for record in await drain(mailbox)]
        assert sorted(taken) == sorted(expected)
        assert len(await mailbox.dead_letters(100)) == len(example["expected"]["inbox"]["dead_letters"])


async def _comes_out_whole(example: dict[str, Any]) -> None:
    await _load(example)
    here = await new_context()
    for name, expected in example["expected"].items():
        records = {record["id"]: record for record in expected["records"]}
        async with await here.open(name, max_deliveries=9) as mailbox:
            # the holders are dead: everything in flight is queued again
            status = await mailbox.status()
            assert (status.queued_messages, status.inflight_messages) == (len(records), 0), status
            assert status.dead_letters == len(expected["dead_letters"])
            assert [letter.to_dict() for letter in await mailbox.dead_letters(100)] == [
                letter | {"record": _SINCE_LAYOUT_5 | letter["record"]} for letter in expected["dead_letters"]
            ]
            seen = []
            while batch := await mailbox.dequeue(64):
                for record in batch:
                    told = records[str(record.id)]
                    # one more hand-out than then, unless that was taken back, and otherwise the same
                    more = 0 if str(record.id) == expected.get("left") else 1
                    assert record.to_dict() == _SINCE_LAYOUT_5 | told | {
                        "status": record.to_dict()["status"],
                        "delivery_count": told["delivery_count"] + more,
                        "due_at": None,
                    }
                    seen.append(record)
            assert [str(record.id) for record in seen] == expected["order"], [record.payload[:20] for record in seen]
            # what is due in fifty years is there, but not due
            later = [record for record in records.values() if record["id"] not in {str(record.id) for record in seen}]
            assert len(later) == expected["later"], later
            assert (await mailbox.status()).queued_messages == len(later)
            # ids mean what they meant, custom ones too: nothing is stored again
            before = await mailbox.status()
            for record in later:
                await mailbox.enqueue(b"again", b"again", message_id=UUID(record["id"]))
            for letter in await mailbox.dead_letters(100):
                await mailbox.enqueue(b"again", b"again", message_id=letter.record.id)
            assert await mailbox.status() == before
            for letter in await mailbox.dead_letters(100):
                assert await mailbox.redrive(letter.record.id)
            assert await mailbox.ack_many([UUID(message_id) for message_id in records]) == len(records)
            assert await mailbox.purge() == len(expected["dead_letters"])
            await mailbox.enqueue(b"new", b"new")
            (new,) = await mailbox.dequeue()
            assert new.payload == b"new"
    left = await foreign(
        """
        const left = {};
        for (const name of ["ids", "errors", "dead", "notes", "pages"]) left[name] = (await rows(name)).length;
        return left;
        """
    )
    assert left == {"ids": 0, "errors": 0, "dead": 0, "notes": 0, "pages": 0}, left
    assert not {"delayed", "departed"} & set(await foreign("return [...db.objectStoreNames]"))


async def _shown(mailbox: Any) -> dict[str, Any]:
    """What is in a mailbox, and the ids in the order in which they will come out when everything is due."""
    records = await mailbox.peek(10_000)
    far = {b"far", b"far and named", b"put off"}
    await asyncio.sleep(0.6)
    due = sorted(
        [record for record in records if record.payload not in far],
        key=lambda record: (-record.priority, _number(record)),
    )
    return {
        "records": [record.to_dict() for record in records],
        "dead_letters": [letter.to_dict() for letter in await mailbox.dead_letters(100)],
        "order": [str(record.id) for record in due],
        "later": len(records) - len(due),
    }


_SINCE_LAYOUT_5: dict[str, Any] = {"headers": {}, "due_at": None}
"""What is shown of a record that an older library stored."""

_ORDER = [b"redriven", b"in flight", b"high", b"many", bytes(range(256)), b"", b"failed once", b"soon", b"out"]


def _number(record: Any) -> tuple[int, int]:
    """When a message of the example was stored, among those of its priority."""
    word, _, number = record.payload.rpartition(b" ")
    stem = word if number.isdigit() else record.payload
    if record.payload[:256] == bytes(range(256)):
        stem = bytes(range(256))
    if stem.startswith(b"in flight"):
        stem = b"in flight"
    return _ORDER.index(stem), int(number) if number.isdigit() else 0


def _example(layout: int) -> dict[str, Any]:
    example: dict[str, Any] = json.loads((EXAMPLES / f"layout-{layout}.json").read_text("utf-8"))
    return example


async def _load(example: dict[str, Any]) -> None:
    js_load = script(
        "async (text) => {"
        + _CODEC
        + """
        const { version, stores } = JSON.parse(text);
        const done = (request) => new Promise((resolve, reject) => {
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error);
        });
        await done(indexedDB.deleteDatabase("pymailbox"));
        const request = indexedDB.open("pymailbox", version);
        request.onupgradeneeded = () => {
          for (const [name, { indexes, rows }] of Object.entries(stores)) {
            const store = request.result.createObjectStore(name);
            for (const { name, keyPath, unique } of indexes) store.createIndex(name, keyPath, { unique });
            for (const [key, value] of rows) store.put(decode(value), decode(key));
          }
        };
        (await done(request)).close();
      }"""
    )
    await js_load(json.dumps(example))
