"""What a mailbox knows of its messages: one state machine, for every backend that is written in Python.

Nothing here stores anything or waits for anything. Each priority is a lane of sequence numbers, given out in commit
order. From a lane's frontier on all messages are fresh: queued, never handed out, not delayed, and without an id of
their sender's. Before it a message lives only if its page says so. So the state has two levels: a small head
(``state``) and pages of neighbouring numbers (``page``), of which only those change that are touched. ``directory``
finds the pages that have something; ``claims`` tells who holds what; ``delivery`` is what a message has been through,
as one number.
"""
