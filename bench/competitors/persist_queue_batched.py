"""persist-queue in Pyodide, saved once for each batch, as a user can who knows which calls belong together."""

from __future__ import annotations

from functools import partial

from bench.competitors import persist_queue

PACKAGE = persist_queue.PACKAGE
open = partial(persist_queue.open, batched=True)  # noqa: A001 - the competitors' common interface
destroy = persist_queue.destroy
