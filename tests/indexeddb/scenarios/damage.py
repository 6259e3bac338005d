"""Another script wrote into the stores: what cannot be read becomes a dead letter, and the rest continues."""

from collections.abc import Mapping

from pymailbox import (
    Mailbox,
    MessagePriority,
    NewMessage,
    StorageCorruptError,
)
from tests.indexeddb.scenarios.support import (
    SEGMENTS_APART,
    Context,
    drain,
    foreign,
    new_context,
    payloads,
    raised,
    wall_clock_forward,
)

# -- messages ---------------------------------------------------------------------------------------------------------

VALUES: Mapping[str, tuple[str, bytes | None]] = {
    "string": ("'gotcha'", b"gotcha"),
    "number": ("42", b"42"),
    "null": ("null", b"null"),
    "object": ("({ a: 1 })", b'{"a":1}'),
    "a cycle": ("(() => { const me = {}; me.me = me; return me; })()", None),
    "a big integer": ("({ n: 10n })", None),
    "no bytes": ("new Uint8Array()", b""),
    "few bytes": ("new Uint8Array([1, 2, 3])", b"\x01\x02\x03"),
    "zeros": ("new Uint8Array(200)", bytes(200)),
    "noise": ("new Uint8Array(200).fill(0xa7)", b"\xa7" * 200),
    "ones": ("new Uint8Array(64).fill(0xff)", b"\xff" * 64),
    "a buffer": ("new Uint8Array([7, 8]).buffer", b"\x07\x08"),
    "words": ("new Uint16Array([0x4141])", b"AA"),
}
"""What is written over a row, and the payload of the dead letter if that is known."""


async def check_rows_overwritten_with_anything() -> None:
    here = await new_context(SEGMENTS_APART)
    for title, (value, salvaged) in VALUES.items():
        for way in ("dequeue", "peek"):
            name = f"overwritten with {title}, {way}"
            mailbox = await _five(here, name)
            await foreign(
                f"""
                const id = await number(name);
                const [, , row] = (await rows("segments")).filter(({{ key }}) => key[0] === id);
                await done(store("segments").put({value}, row.key));
                """,
                name=name,
            )
            seen = await mailbox.peek(10) if way == "peek" else await drain(mailbox)
            assert payloads(seen) == [b"0", b"1", b"3", b"4"], (name, payloads(seen))
            await _one_dead(mailbox, name, salvaged)
            await mailbox.close()
            await here.delete(name)


async def check_headers_overwritten_with_anything() -> None:
    """Headers that one language would refuse must not reach the other: the message becomes a dead letter."""
    here = await new_context(SEGMENTS_APART)
    for number, headers in enumerate(
        (b"nothing!", b"[1,2]   ", b'["a"]   ', b'{"a":1} ', b'["\xff",""]'[:8], b'["","-"[', bytes(8))
    ):
        name = f"headers {number}"
        async with await here.open(name) as mailbox:
            for text in (b"0", b"1", b"2", b"3", b"4"):
                await mailbox.enqueue(b"s", text, headers={"": "-"} if text == b"2" else None)
            await foreign(
                """
                const id = await number(name);
                for (const { key, value } of await rows("segments")) {
                  const at = value.findIndex((_, i) => [91, 34, 34, 44].every((byte, j) => value[i + j] === byte));
                  if (key[0] !== id || at < 0) continue;
                  value.set(headers, at);
                  await done(store("segments").put(value, key));
                }
                """,
                name=name,
                headers=headers,
            )
        async with await (await new_context(SEGMENTS_APART)).open(name) as mailbox:
            assert payloads(await drain(mailbox)) == [b"0", b"1", b"3", b"4"], headers
            await _one_dead(mailbox, name, None)


async def check_row_cut_short_keeps_what_is_whole() -> None:
    here = await new_context(SEGMENTS_APART)
    async with await here.open("cut short") as mailbox:
        await mailbox.enqueue_many([NewMessage(b"s", b"%d" % i * 10) for i in range(5)])
        await foreign(
            """
            const id = await number("cut short");
            const [row] = (await rows("segments")).filter(({ key }) => key[0] === id);
            await done(store("segments").put(row.value.slice(0, row.value.length - 60), row.key));
            """
        )
        fresh = await (await new_context(SEGMENTS_APART)).open("cut short")
        assert payloads(await drain(fresh)) == [b"0" * 10, b"1" * 10, b"2" * 10]
        (letter,) = await fresh.dead_letters()
        assert letter.reason.startswith("2 message(s)"), letter.reason
        assert b"0" * 10 in letter.record.payload
        await fresh.close()


async def check_row_deleted_in_the_middle() -> None:
    """The rows around it are read in one go; the next message must not take the place of the missing one."""
    here = await new_context(SEGMENTS_APART)
    for way in ("dequeue", "peek"):
        name = f"deleted, {way}"
        mailbox = await _five(here, name)
        await foreign(
            """
            const id = await number(name);
            const [, , row] = (await rows("segments")).filter(({ key }) => key[0] === id);
            await done(store("segments").delete(row.key));
            """,
            name=name,
        )
        seen = await mailbox.peek(10) if way == "peek" else await drain(mailbox)
        assert payloads(seen) == [b"0", b"1", b"3", b"4"], payloads(seen)
        assert len({record.id for record in seen}) == 4
        await _one_dead(mailbox, name, b"")
        await mailbox.close()


async def check_all_rows_deleted() -> None:
    here = await new_context(SEGMENTS_APART)
    mailbox = await _five(here, "all gone")
    await foreign(
        """
        const id = await number("all gone");
        await done(store("segments").delete(IDBKeyRange.bound([id], [id, []])));
        """
    )
    assert await mailbox.dequeue() == []
    (letter,) = await mailbox.dead_letters()
    assert letter.reason.startswith("5 message(s)"), letter.reason
    assert (await mailbox.status()).queued_messages == 0
    await mailbox.enqueue(b"s", b"on it goes")
    assert payloads(await mailbox.dequeue()) == [b"on it goes"]
    await mailbox.close()


async def check_rows_that_were_swapped() -> None:
    """A row in the place of another is well-formed, but its numbers say that it belongs elsewhere."""
    here = await new_context(SEGMENTS_APART)
    mailbox = await _five(here, "swapped")
    await foreign(
        """
        const id = await number("swapped");
        const [, a, , b] = (await rows("segments")).filter(({ key }) => key[0] === id);
        await done(store("segments").put(b.value, a.key));
        await done(store("segments").put(a.value, b.key));
        """
    )
    assert payloads(await drain(mailbox)) == [b"0", b"2", b"4"]
    status = await mailbox.status()
    assert (status.queued_messages, status.inflight_messages, status.dead_letters) == (0, 3, 2), status
    await mailbox.close()


async def check_rows_with_keys_of_their_own() -> None:
    """Rows that no mailbox wrote, among those of a mailbox: they hide nothing, and no message is lost."""
    here = await new_context(SEGMENTS_APART)
    for key in (
        "[id, 0, 3]",
        "[id, 0, 1e15, 0]",
        "[id, 0, 4, 0, 1]",
        "[id, 0, 2.5, 1.5]",
        "[id, 0, 3, 3, 3]",
        "[id, 0, 4, 4.5]",
        "[id, 0, 'a']",
        "[id, 0, []]",
        "[id, 'x']",
        "[id]",
        "'unrelated'",
    ):
        name = f"intruder {key}"
        mailbox = await _five(here, name)
        await foreign(
            f"""
            const id = await number(name);
            await done(store("segments").put("intruder", {key}));
            """,
            name=name,
        )
        assert payloads(await drain(mailbox)) == [b"0", b"1", b"2", b"3", b"4"], key
        status = await mailbox.status()
        assert (status.queued_messages, status.inflight_messages) == (0, 5), (key, status)
        await mailbox.close()
        await here.delete(name)
        await foreign("await done(store('segments').delete('unrelated'))")


async def check_messages_that_say_what_cannot_be() -> None:
    """Well-formed rows with one wrong field: nothing gets out that Python could not turn into a record."""
    here = await new_context(SEGMENTS_APART)
    fields = {
        "flags": "view.setUint8(12, 0xfe)",
        "a name that it was not given": "view.setUint8(12, 1)",
        "a priority that does not exist": "view.setUint8(13, 9)",
        "another lane's priority": "view.setUint8(13, 1)",
        "a long sender": "view.setUint32(16, 0xffffffff, true)",
        "a long payload": "view.setUint32(20, 0xfffffff0, true)",
        "no time": "view.setFloat64(24, NaN, true)",
        "a time beyond all": "view.setFloat64(24, Infinity, true)",
        "a time that no datetime has": "view.setFloat64(24, 1e15, true)",
        "a time before all": "view.setFloat64(24, -1e15, true)",
        "no messages": "view.setUint32(8, 0, true)",
        "more messages than there are": "view.setUint32(8, 1000000, true)",
        "no number": "view.setFloat64(0, NaN, true)",
        "a number below zero": "view.setFloat64(0, -1, true)",
    }
    for title, change in fields.items():
        mailbox = await _five(here, title)
        await foreign(
            f"""
            const id = await number(name);
            const [, , row] = (await rows("segments")).filter(({{ key }}) => key[0] === id);
            const view = new DataView(row.value.buffer);
            {change};
            await done(store("segments").put(row.value, row.key));
            """,
            name=title,
        )
        seen = await drain(mailbox)
        assert payloads(seen) == [b"0", b"1", b"3", b"4"], (title, payloads(seen))
        await _one_dead(mailbox, title, None)
        await mailbox.close()


async def check_damage_under_a_message_in_flight() -> None:
    """`ack` needs no bytes; `nack` and `dead_letter` do if the message dies; each says what happened, and nobody is
    stuck."""
    here = await new_context(SEGMENTS_APART)
    for verb in ("ack", "dead_letter", "last nack"):
        mailbox = await _five(here, verb, max_deliveries=1)
        first, second, *rest = await drain(mailbox)
        await foreign(
            """
            const id = await number(verb);
            const mine = (await rows("segments")).filter(({ key }) => key[0] === id);
            for (const { key } of mine.slice(0, 2)) await done(store("segments").put("gotcha", key));
            """,
            verb=verb,
        )
        await _forget_what_is_in_memory()
        if verb == "ack":
            assert await mailbox.ack(first.id)
            assert await mailbox.ack(second.id)
            assert await mailbox.dead_letters() == []
        elif verb == "dead_letter":
            assert await mailbox.dead_letter(first.id, "it is bad")
            assert not await mailbox.dead_letter(first.id, "it is bad")
            (letter,) = await mailbox.dead_letters()
            assert letter.record.payload == b"gotcha"
        else:
            assert await mailbox.nack(first.id, error="failed")
            (letter,) = await mailbox.dead_letters()
            assert letter.record.payload == b"gotcha"
        assert await mailbox.ack_many([record.id for record in rest]) == 3
        await mailbox.close()


async def check_damage_under_named_messages() -> None:
    """Their ids are forgotten with them: the same id is then a new message."""
    from uuid import UUID

    here = await new_context(SEGMENTS_APART)
    async with await here.open("named") as mailbox:
        ids = [UUID(int=i + 1) for i in range(3)]
        for given in ids:
            await mailbox.enqueue(b"s", given.bytes, message_id=given)
        await foreign(
            """
            const id = await number("named");
            const [, row] = (await rows("segments")).filter(({ key }) => key[0] === id);
            await done(store("segments").put("gotcha", row.key));
            """
        )
        await _forget_what_is_in_memory()
        assert [record.id for record in await drain(mailbox)] == [ids[0], ids[2]]
        await mailbox.enqueue(b"s", b"again", message_id=ids[1])
        (again,) = await mailbox.dequeue()
        assert (again.id, again.payload) == (ids[1], b"again")


# -- dead letters -----------------------------------------------------------------------------------------------------


async def check_damaged_dead_letters() -> None:
    here = await new_context(SEGMENTS_APART)
    for title, value in {
        "string": "'gotcha'",
        "null": "null",
        "no frame": "({ id: new Uint8Array(16), deliveries: 1, reason: 'r', diedAt: 0 })",
        "a bad frame": "({ ...row.value, frame: new Uint8Array(5) })",
        "two frames": "({ ...row.value, frame: new Uint8Array([...row.value.frame, ...row.value.frame]) })",
        "a bad id": "({ ...row.value, id: new Uint8Array(3) })",
        "a bad reason": "({ ...row.value, reason: 5 })",
        "a bad error": "({ ...row.value, error: {} })",
        "a bad time": "({ ...row.value, diedAt: NaN })",
        "bad deliveries": "({ ...row.value, deliveries: -1 })",
    }.items():
        for verb in ("dead_letters", "redrive", "discard"):
            name = f"dead {title}, {verb}"
            mailbox = await _five(here, name)
            for record in await mailbox.dequeue(3):
                await mailbox.dead_letter(record.id, f"bad {record.payload!r}")
            third, second, first = await mailbox.dead_letters()
            await foreign(
                f"""
                const id = await number(name);
                const row = (await rows("dead")).filter(({{ key }}) => key[0] === id)[1];
                await done(store("dead").put({value}, row.key));
                """,
                name=name,
            )
            if verb == "redrive":
                assert not await mailbox.redrive(second.record.id), name
            elif verb == "discard":
                assert await mailbox.discard(second.record.id), name
            letters = await mailbox.dead_letters()
            others = [letter for letter in letters if letter in (third, first)]
            assert others == [third, first], (name, letters)
            assert (await mailbox.status()).dead_letters == len(letters), name
            if verb != "discard":
                (made,) = (letter for letter in letters if letter not in others)
                assert made.record.id != second.record.id, name
                assert made.record.sender == b"", name
                assert "could not be read" in made.reason, made.reason
                assert await mailbox.redrive(made.record.id), name
            assert await mailbox.redrive(first.record.id), name
            assert await mailbox.discard(third.record.id), name
            assert await mailbox.dead_letters() == [], name
            assert (await mailbox.status()).dead_letters == 0, name
            await mailbox.close()
            await here.delete(name)


async def check_deleted_dead_letters() -> None:
    here = await new_context(SEGMENTS_APART)
    for verb in ("dead_letters", "redrive", "discard", "ack"):
        mailbox = await _five(here, f"dead and deleted, {verb}")
        for record in await mailbox.dequeue(3):
            await mailbox.dead_letter(record.id, "bad")
        third, second, first = await mailbox.dead_letters()
        await foreign(
            """
            const id = await number(name);
            const row = (await rows("dead")).filter(({ key }) => key[0] === id)[1];
            await done(store("dead").delete(row.key));
            """,
            name=f"dead and deleted, {verb}",
        )
        if verb == "redrive":
            assert not await mailbox.redrive(second.record.id)
        elif verb == "discard":
            assert not await mailbox.discard(second.record.id)
        elif verb == "ack":
            assert not await mailbox.ack(second.record.id)
        assert await mailbox.dead_letters() == [third, first]
        assert (await mailbox.status()).dead_letters == 2
        # its id is free again
        await mailbox.enqueue(b"s", b"again", message_id=second.record.id)
        assert (await mailbox.status()).queued_messages == 3
        await mailbox.close()


# -- what a mailbox knows of its messages ------------------------------------------------------------------------------


async def check_damaged_state() -> None:
    here = await new_context(SEGMENTS_APART)
    for title, value in {
        "string": "'gotcha'",
        "null": "null",
        "zero": "0",
        "empty": "({})",
        "a bad number": "({ ...state, number: 'x' })",
        "another's number": "({ ...state, number: state.number + 1 })",
        "no head": "({ ...state, head: undefined })",
        "a head that is no bytes": "({ ...state, head: 'x' })",
        "an empty head": "({ ...state, head: new Uint8Array() })",
        "a head cut short": "({ ...state, head: state.head.slice(0, -1) })",
        "a head that goes on": "({ ...state, head: new Uint8Array([...state.head, 0]) })",
        "a head with another byte": "({ ...state, head: state.head.map((byte, i) => (i === 20 ? byte ^ 1 : byte)) })",
        "a head of ones": "({ ...state, head: state.head.map(() => 0xff) })",
    }.items():
        name = f"state: {title}"
        mailbox = await _five(here, name)
        await foreign(
            f"""
            const {{ key, value: state }} = await head(name);
            await done(store("journal").put({value}, key));
            """,
            name=name,
        )
        await _forget_what_is_in_memory()
        calls = (mailbox.status(), mailbox.peek(), mailbox.dequeue(), mailbox.purge(), mailbox.enqueue(b"s", b"p"))
        for call in calls:
            error = await raised(call)
            assert isinstance(error, StorageCorruptError), (name, error)
            assert name in str(error), error
        error = await raised(here.open(name))
        assert isinstance(error, StorageCorruptError), (name, error)
        await raised(mailbox.close())
        assert await here.delete(name), name
        async with await here.open(name) as again:
            assert (await again.status()).queued_messages == 0
            await again.enqueue(b"s", b"new")
            assert payloads(await again.dequeue()) == [b"new"]


async def check_damaged_indexes() -> None:
    """The rows of custom ids and of nacks' errors, and rows that belong to nothing."""
    from uuid import UUID

    here = await new_context(SEGMENTS_APART)
    for title, damage in {
        "junk among ids": "await done(store('ids').put('junk', [id, 'junk']));",
        "junk for an id": "await done(store('ids').put('junk', [id, new Uint8Array(16).fill(9)]));",
        "junk among pages": "for (const key of [[id, 'a'], [id, 0, 0], [id, -1, 0], [id, -2, 0], [id, 0, 'x']]) "
        "await done(store('pages').put('junk', key));",
        "junk for an error": "for (const { key } of await rows('errors')) await done(store('errors').put({}, key));",
        "junk among notes": "await done(store('notes').put({}, 'junk')); await done(store('notes').put(5, 7));",
    }.items():
        async with await here.open(title, max_deliveries=2) as mailbox:
            await mailbox.enqueue(b"s", b"named", message_id=UUID(int=1))
            await mailbox.enqueue(b"s", b"late", delay=1000)
            await mailbox.enqueue(b"s", b"plain")
            named, plain = await mailbox.dequeue()
            assert await mailbox.nack(plain.id, error="once")
            await foreign(f"const id = await number(title); {damage}", title=title)
            await _forget_what_is_in_memory()
            assert payloads(await mailbox.peek(status=None))[:1] == [b"plain"], title
            (plain,) = await mailbox.dequeue()
            assert await mailbox.nack(plain.id, error="twice")
            assert [letter.record.payload for letter in await mailbox.dead_letters()] == [b"plain"], title
            async with wall_clock_forward(1001):
                assert payloads(await mailbox.dequeue()) == [b"late"], title
            assert await mailbox.ack(named.id), title
            assert await mailbox.recover() == 0, title
            await mailbox.enqueue(b"s", b"named", message_id=UUID(int=1))
            assert await mailbox.purge() == 1, title
        await foreign("await done(store('notes').clear())")


async def check_forgotten_mailbox_numbers() -> None:
    """Without the counter, a new mailbox must not write into the rows of another."""
    here = await new_context(SEGMENTS_APART)
    for value in ("undefined", "1", "'x'", "-4"):
        old = await _five(here, f"old {value}")
        await foreign(
            f"""
            if ({value} === undefined) await done(store("meta").delete("nextMailbox"));
            else await done(store("meta").put({value}, "nextMailbox"));
            """
        )
        async with await here.open(f"new {value}") as new:
            await new.enqueue(b"s", b"new")
            assert payloads(await drain(new)) == [b"new"], value
        assert payloads(await drain(old)) == [b"0", b"1", b"2", b"3", b"4"], value
        await old.close()


# -- help -------------------------------------------------------------------------------------------------------------


async def _five(context: Context, name: str, **options: int) -> Mailbox:
    """A mailbox with five messages, each in a row of its own, that is not in this context's memory."""
    async with await (await _elsewhere()).open(name) as mailbox:
        for i in range(5):
            await mailbox.enqueue(b"sender", b"%d" % i, MessagePriority.NORMAL)
    return await context.open(name, **options)


_writers: list[Context] = []


async def _elsewhere() -> Context:
    if not _writers:
        _writers.append(await new_context(SEGMENTS_APART))
    return _writers[0]


async def _forget_what_is_in_memory() -> None:
    """Requesting a higher version makes every engine here drop its connection, and its caches with it."""
    await foreign(
        """
        await new Promise((resolve) => {
          const request = indexedDB.open("pymailbox", db.version + 1);
          db.close();
          request.onupgradeneeded = () => request.transaction.abort();
          request.onerror = resolve;
        });
        """
    )


async def _one_dead(mailbox: Mailbox, title: str, payload: bytes | None) -> None:
    """One dead letter for one message, and all counts are right."""
    (letter,) = await mailbox.dead_letters()
    assert letter.record.sender == b"", title
    assert letter.reason.startswith("1 message(s)"), (title, letter.reason)
    if payload is not None:
        assert letter.record.payload == payload, (title, letter.record.payload)
    status = await mailbox.status()
    assert status.dead_letters == 1, (title, status)
    assert status.queued_messages + status.inflight_messages == 4, (title, status)
    assert not await mailbox.ack(letter.record.id), title
    assert await mailbox.redrive(letter.record.id), title
    assert await mailbox.dead_letters() == [], title
    assert letter.record.payload in payloads(await mailbox.peek(10)), title
