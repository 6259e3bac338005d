"""The actor loop: what ``Mailbox.consume`` does, and what stands around it.

From the outside in: ``consumer`` is the loop itself; ``delivery`` hands one message to the handler and settles it;
``hand`` keeps what was claimed and waits for a handler; ``holds`` knows what somebody has settled already; ``pace``
says how much to claim; ``storage`` calls the mailbox, again where that helps;
``context``, ``handlers``, ``retry`` and ``errors`` are what the handler and its failures are seen through.
``backpressure`` is for those who fill a mailbox.
"""

from .backpressure import Backpressure
from .consumer import Consumer
from .context import Context
from .handlers import Handler
from .retry import RetryPolicy

__all__ = ["Backpressure", "Consumer", "Context", "Handler", "RetryPolicy"]
