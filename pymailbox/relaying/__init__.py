"""``relay``: messages from a mailbox to a mailbox of another database; see docs/relay.md.

``relay`` is the loop; ``routes`` are the two ways to a target, of which ``cursor`` is the one that repeats nothing;
``origin`` says which source a cursor belongs to.
"""

from .relay import Relay, RelayStatus, relay

__all__ = ["Relay", "RelayStatus", "relay"]
