"""What is stored is as durable as its handle asks; tests/js/commit-queue.test.js has what calls share."""

from uuid import UUID

from pymailbox import NewMessage
from tests.indexeddb.scenarios.support import new_context, script, script_in_force

_NOTING = """() => {
  const { transaction } = IDBDatabase.prototype;
  const begun = [];
  globalThis.begunOfTest = () => begun.splice(0).join(" ");
  IDBDatabase.prototype.transaction = function (...given) {
    const one = transaction.apply(this, given);
    if (one.mode === "readwrite") begun.push(one.durability);
    return one;
  };
  return () => { IDBDatabase.prototype.transaction = transaction; };
}"""
"""`begunOfTest()` gives how durable the transactions since then are, as the browser took it."""


def _begun() -> str:
    return str(script("begunOfTest()"))


async def check_what_stores_is_as_durable_as_its_handle_asks() -> None:
    """Everything that the option covers, whether or not something has to be read for it."""
    for durability in ("strict", "relaxed"):
        here = await new_context()
        async with (
            await here.open("durable", durability=durability) as mailbox,
            await here.open("sent to", durability=durability) as target,
            script_in_force(_NOTING),
        ):
            for attempt in range(2):  # the second time its context has the mailbox to itself
                _begun()
                for _ in range(4):
                    await mailbox.enqueue(b"s", b"p")
                assert set(_begun().split()) == {durability}, attempt
                await mailbox.enqueue(b"s", b"p", message_id=UUID(int=attempt + 1))
                assert _begun() == durability, attempt
                await mailbox.enqueue_many([NewMessage(b"s", b"p"), NewMessage(b"s", bytes(100_000))])
                assert _begun() == durability, attempt
                sent_on, dead, *others = await mailbox.dequeue()
                _begun()
                assert await mailbox.ack_and_send(sent_on.id, [(target, NewMessage(b"s", b"p"))])
                assert _begun() == durability, attempt
                assert await mailbox.dead_letter(dead.id, "given up")
                assert _begun() == durability, attempt
                assert await mailbox.redrive(dead.id)
                assert _begun() == durability, attempt
                await mailbox.ack_many([dead.id, *(record.id for record in others)])
