"""A mailbox without the place that keeps it: one set of rules, for every backend that is written in Python.

What the verbs do is here: ``verbs`` (in, out, looking), ``claiming`` (to holders, and back), ``dead_letters`` and
``archive`` (as a whole). They move messages about in the state, and tell a ``store`` what to keep and what to delete;
that is all that a backend fills in. Nothing here waits for anything, reads a clock, draws a random number or depends on
the order of a set: the time is an argument, and the same calls in the same order lead to the same state.

The state says where each message stands. Each priority is a lane of sequence numbers, given out in commit order. From a
lane's frontier on all messages are fresh: queued, never handed out, not delayed, and without an id of their sender's.
Before it a message lives only if its page says so. So the state has two levels: a small head (``state``) and pages of
neighbouring numbers (``page``), of which only those change that are touched. ``directory`` finds the pages that have
something; ``claims`` says who holds what; ``delivery`` is what a message has been through, as one number.
"""
