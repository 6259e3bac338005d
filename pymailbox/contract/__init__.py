"""What every mailbox promises, wherever it keeps its messages; nothing here knows a backend.

``mailbox`` is the abstract class, ``capabilities`` what a backend may lack. What callers pass and get is in ``values``,
``errors`` and ``location``; ``arguments`` (on ``buffers``) checks what they pass. The working defaults of the class are
``polling`` and ``plain_archive``; ``settling`` tells consumers what a handler did itself. ``archive`` is what export
and import need; ``ids``, ``moments`` and ``reasons`` are the ids, times and texts that all backends share.
"""
