"""Which source a cursor belongs to: many databases may have a mailbox of the same name, and relay it to one target."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid4, uuid5

from ..contract.capabilities import Capability
from ..contract.limits import LONGEST_NAME
from ..contract.mailbox import Mailbox

_PREFIX: Final = "relay:"

_IDENTITY: Final = "pymailbox-identity"
"""The mailbox of a source's database whose oldest message has an id that no other database has."""

_NEEDED: Final = frozenset({Capability.ASK, Capability.MESSAGE_ID, Capability.PEEK})


def name_of_cursor(name: str) -> str:
    """The name of the cursor's mailbox, for a source that its program has named."""
    return _PREFIX + name


async def name_of_cursor_for(source: Mailbox) -> str:
    """The name of the cursor's mailbox, always the same for a source, and another one for each source."""
    name = getattr(source, "name", "") or f"{id(source):x}"  # one without a name is known to one handle
    if source._nearby is None or not source.capabilities >= _NEEDED:
        return name_of_cursor(name[: LONGEST_NAME - len(_PREFIX)])
    async with await source._nearby.open(_IDENTITY) as mailbox:
        identity = uuid5(await _identity_in(mailbox), name)
    # a long name is cut; the identity is of the whole
    return name_of_cursor(f"{name[: LONGEST_NAME - len(_PREFIX) - 37]}:{identity}")


async def _identity_in(mailbox: Mailbox) -> UUID:
    while not (known := await mailbox.peek(1)):
        await mailbox.enqueue(b"", b"", message_id=uuid4())  # others may do so at the same time; the oldest counts
    return known[0].id
