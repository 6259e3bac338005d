"""The actor loop: what ``Mailbox.consume`` does, and what goes with it.

From the outside in: ``consumer`` is the loop itself; ``delivery`` hands one message to the handler and settles it;
``prefetch`` keeps what was claimed and waits for a handler; ``holds`` knows what somebody has already settled; ``pace``
says how much to claim; ``retrying`` calls the mailbox, and repeats the call where that helps; ``replying`` finds where
answers go, ``asking`` waits for them, and ``reply_mailboxes`` is what both know; ``context``,
``handlers``, ``time_limit``, ``retry`` and ``tracebacks`` are about the handler and its failures. ``backpressure`` is
for those who fill a mailbox.
"""

from .asking import ask
from .backpressure import Backpressure
from .consumer import Consumer
from .context import Context
from .handlers import Handler
from .retry import Retry, RetryPolicy

__all__ = ["Backpressure", "Consumer", "Context", "Handler", "Retry", "RetryPolicy", "ask"]
