"""``relay``: messages from a mailbox to a mailbox of another database; see docs/relay.md.

``loop`` claims, sends and acknowledges; ``cursor`` is the way to a target on which nothing is repeated, ``plain`` the
other one; ``origin`` says which source a cursor belongs to.
"""

from .loop import Relayer, relay
from .status import RelayStatus

__all__ = ["RelayStatus", "Relayer", "relay"]
