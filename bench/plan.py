"""What is measured: rows of a case, an engine and its competitors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from bench.queues import Durability, Job
from tools.nats_servers import Sync

OURS = "pymailbox"
"""Called from Python, as its users do."""

RAW = "raw IndexedDB"
"""The obvious design by hand, in JavaScript."""

PUTS = "raw put"
"""The lower limit: just puts, in JavaScript."""

RECORDS = "bare records"
"""The lower limit of our own layout, one message at a time, in JavaScript."""

STORES = (OURS, PUTS, RAW, "dexie", "workbox", "tanstack", "origin", "persist-queue", "litequeue", "pyscript")
"""Everything that can store, in a browser."""

BATCHED = "persist-queue, batched"
"""Differs from `persist-queue` only with batches."""

QUEUES = tuple(name for name in STORES if name != PUTS)
"""All queues, in a browser."""

DATABASES = (OURS, RAW, "dexie")
"""Those that hand out to several tabs and do not read or rewrite everything they have."""

BY_HAND = "dequeue, ack"
"""A loop over ``dequeue`` with an ``ack`` for each message: what a user writes instead of ``consume``."""

LOOPS = (OURS, BY_HAND, "dequeue(ack=…)")
"""``consume``, and loops over ``dequeue``; the last one is the limit."""

HEADERS = (OURS, "with headers")
"""Messages without headers, and with one."""

SYNC = "without await"
"""``pymailbox.sync``."""

ON_CPYTHON = (OURS, "persist-queue", "litequeue", "huey")

BYTES = 1024
ONE_BATCH = 32
"""The batch of a `dequeue` without an argument, and how many producers there are."""

BACKLOGS = (1_000, 10_000, 100_000)

DIRECT = "nats-py"
"""What JetStream itself offers, in Python."""

APART = "a connection each"
"""Handles that share nothing, as in processes of their own."""

CLIENTS = (APART, "a mailbox each", "a stream each", DIRECT)
"""Connected clients; those of `nats-py` share a stream and its consumer."""

RELAY = "relay"
"""Relays into one mailbox."""

RELAYS = (RELAY, "relay, a mailbox each")

ONE_SIDE = ("source alone", "target alone")
"""What a relay cannot be faster than."""

BROWSERS = ("chromium", "chromium-sqlite", "firefox")
ON_SERVERS: dict[str, tuple[int, Sync]] = {
    "nats": (1, "default"),
    "nats-always": (1, "always"),
    "nats-cluster": (3, "default"),
    "nats-cluster-always": (3, "always"),
    "nats-chromium": (1, "default"),
}
"""CPython, or a page, on this many NATS servers, and when they sync what they store: by default, or before
acknowledging it."""

IN_PAGES = {"nats-chromium": "chromium"}
"""Those of them that run in a browser, and in which one."""

ENGINES = (*BROWSERS, "cpython", "memory", *ON_SERVERS)
"""``memory`` is a mailbox in memory, on CPython."""

QUICK_BROWSERS = ("chromium", "firefox")
"""Browsers of a quick run; the second gets only a little."""

NOT_IN_QUICK = {"litequeue"}
"""Competitors that a quick run leaves out: in a browser this is as slow as persist-queue, for the same reason."""

SECONDS = 0.3
"""How long a repeated case runs each time."""


@dataclass(frozen=True)
class Row:
    """One row of the results."""

    engine: str
    job: Job
    competitors: tuple[str, ...]
    name: str = ""
    """The case's name in the results, if it is not the job's, with what is special about it."""
    keeps_store: bool = False
    """Whether all rounds use one store, since filling it takes long and each round leaves it unchanged."""
    quick: bool = False
    """Whether a quick run has it."""
    most_rounds: int = 9
    """The most times that it is measured: once is enough for a long case."""
    unfinished: tuple[str, ...] = ()
    """Competitors that could not do it."""
    key: tuple[str, str, int, int, Durability] = field(init=False)
    """What identifies it in the results."""

    def __post_init__(self) -> None:
        job = self.job
        key = (self.name or job.case, self.engine, job.payload_bytes, job.batch, job.durability)
        object.__setattr__(self, "key", key)


def full_plan() -> list[Row]:
    """All rows."""
    rows = [*_chromium(), *_elsewhere("chromium-sqlite"), *_elsewhere("firefox"), *_cpython()]
    rows += [*_consumers("memory"), *_on_servers()]
    doubles = {row.key for row in rows if sum(row.key == other.key for other in rows) > 1}
    assert not doubles, doubles
    return rows


def _chromium() -> Iterator[Row]:
    engine = "chromium"
    yield Row(engine, _repeated("enqueue", 1), (*STORES, RECORDS), quick=True)
    yield Row(engine, _repeated("producers", ONE_BATCH), (OURS, PUTS, RAW, "dexie", "workbox", "origin"), quick=True)
    yield Row(engine, _repeated("enqueue_many", 1000), (OURS, PUTS, RAW, "dexie", "workbox", "tanstack"), quick=True)
    for batch in (1, ONE_BATCH, 100):
        yield Row(engine, Job(case="claim", payload_bytes=BYTES, batch=batch), (*DATABASES, "workbox", BATCHED))
    for batch in (1, 100):
        yield Row(engine, Job(case="ack", payload_bytes=BYTES, batch=batch), (*DATABASES, "tanstack", BATCHED))
    for batch in (1, 10, 100):
        yield Row(engine, _repeated("whole_life", batch), _in_a_life(batch), quick=batch != 10)
    yield from _one_by_one(engine)
    yield from _two_handles(engine)
    for backlog in BACKLOGS:
        for batch in (1, 10, 100):
            job = _repeated("whole_life", batch, backlog=backlog)
            yield Row(engine, job, DATABASES, _at("whole_life", backlog), keeps_store=True)
    yield from _backlogs(engine, BACKLOGS)
    yield from _recoveries(engine)
    yield from _beside_the_queue(engine)
    yield Row(engine, Job(case="memory", payload_bytes=BYTES, batch=100), (OURS, RAW, "dexie"), most_rounds=1)
    yield from _consumers(engine)
    yield from _headers(engine)
    # other sizes, and data that is not on the disk when a call returns
    yield from _sizes(engine, 100, "strict", QUEUES)
    yield from _sizes(engine, 64 * 1024, "strict", DATABASES)
    yield from _sizes(engine, BYTES, "relaxed", QUEUES)


def _elsewhere(engine: str) -> Iterator[Row]:
    """The same in another browser, or another store of it, with fewer rows."""
    yield Row(engine, _repeated("enqueue", 1), (OURS, PUTS, RECORDS, RAW, "dexie", "persist-queue"))
    yield Row(engine, _repeated("producers", ONE_BATCH), (OURS, PUTS, RAW, "dexie"))
    yield Row(engine, _repeated("enqueue_many", 1000), (OURS, PUTS, RAW, "dexie"))
    for batch in (1, 10, 100):
        yield Row(engine, _repeated("whole_life", batch), _in_a_life(batch))
    for case in ("claim", "ack"):
        yield Row(engine, Job(case=case, payload_bytes=BYTES, batch=1), DATABASES)
    yield from _one_by_one(engine)
    yield from _two_handles(engine)
    yield from _backlogs(engine, (BACKLOGS[0], BACKLOGS[-1]))
    yield from _recoveries(engine)
    yield from _beside_the_queue(engine)
    if engine == "firefox":
        yield from _consumers(engine)
        yield from _headers(engine)


def _cpython() -> Iterator[Row]:
    engine = "cpython"
    for durability in ("strict", "relaxed"):
        yield Row(engine, _repeated("enqueue", 1, durability=durability), ON_CPYTHON)
        yield Row(engine, _repeated("producers", ONE_BATCH, durability=durability), ON_CPYTHON)
        yield Row(engine, _repeated("enqueue_many", 1000, durability=durability), ON_CPYTHON)
        for batch in (1, 10, 100):
            quick = durability == "strict" and batch != 10
            yield Row(engine, _repeated("whole_life", batch, durability=durability), ON_CPYTHON, quick=quick)
    yield from _one_by_one(engine)
    for case in ("claim", "ack"):
        for batch in (1, 100):
            competitors = tuple(name for name in ON_CPYTHON if case == "claim" or name != "huey")
            yield Row(engine, Job(case=case, payload_bytes=BYTES, batch=batch), competitors)
    for backlog in BACKLOGS:
        status = _repeated("status", ONE_BATCH, backlog=backlog)
        yield Row(engine, status, ON_CPYTHON, _at("status", backlog), keeps_store=True)
        claim = _repeated("claim_latency", ONE_BATCH, backlog=backlog)
        yield Row(engine, claim, ON_CPYTHON, _at("dequeue", backlog), keeps_store=True)
    yield Row(engine, Job(case="opening", payload_bytes=BYTES, batch=1, backlog=1000), ON_CPYTHON)
    yield Row(engine, Job(case="importing", payload_bytes=BYTES, batch=1), ON_CPYTHON)
    yield from _consumers(engine)
    yield from _headers(engine)
    yield Row(engine, _repeated("without_await", 1), (OURS, SYNC))


def _on_servers() -> Iterator[Row]:
    both = (OURS, DIRECT)
    for engine in ON_SERVERS:
        for batch in (1, 100):
            yield Row(engine, _repeated("whole_life", batch), both)
    for engine in ("nats", "nats-cluster"):
        for handles in (1, 4, 16):
            competitors = both if handles == 1 else (OURS, APART, DIRECT)
            yield Row(engine, _repeated("consumers", 10, handles=handles), competitors, f"consumers_{handles}")
        yield Row(engine, Job(case="wake", payload_bytes=BYTES, batch=1, handles=2), both)
    for backlog in (0, 10_000, 100_000):
        job = Job(case="first_use", payload_bytes=BYTES, batch=1, backlog=backlog)
        yield Row("nats", job, both, _at("first_use", backlog), keeps_store=True, most_rounds=3)
    yield from _relays()
    for engine in ("nats", "nats-cluster"):
        for case in ("server_memory", "idle_cpu", "idle_bytes"):
            yield Row(engine, Job(case=case, payload_bytes=BYTES, batch=1), CLIENTS, most_rounds=3)
        for case in ("visits", "visits_cpu"):
            yield Row(engine, Job(case=case, payload_bytes=BYTES, batch=1), (RELAY,), most_rounds=3)


def _relays() -> Iterator[Row]:
    for engine in ("nats", "nats-cluster", "nats-chromium"):
        for clients in (1,) if engine in IN_PAGES else (1, 10, 100):
            job = Job(case="relays", payload_bytes=BYTES, batch=100, handles=clients)
            competitors = RELAYS if clients > 1 else (RELAY, *ONE_SIDE)
            yield Row(engine, job, competitors, f"relays_{clients}", most_rounds=3 if clients == 100 else 5)
            for figure in ("lag", "lag_99") if engine in IN_PAGES else ("cpu", "lag", "lag_99"):
                one = replace(job, case=f"relays_{figure}", batch=100 if figure == "cpu" else 1)
                name = f"relays_{clients}_{figure}"
                yield Row(engine, one, RELAYS if clients > 1 else (RELAY,), name, most_rounds=3)


def _one_by_one(engine: str) -> Iterator[Row]:
    """One message follows another as soon as it can."""
    others = ("persist-queue", "litequeue") if engine == "cpython" else (RAW, "dexie")
    yield Row(engine, Job(case="ack_and_claim", payload_bytes=BYTES, batch=1), (OURS, *others))
    yield Row(engine, _repeated("lock_step", 1), (OURS,))


def _consumers(engine: str) -> Iterator[Row]:
    """The actor's loop: with an empty handler and various numbers of waiting messages, and with slow handlers."""
    for waiting in (1, 10, 1000):
        yield Row(engine, _repeated("consume", waiting), LOOPS, quick=waiting == 1 and engine != "memory")
    for case in ("urgent", "overtaking"):
        yield Row(engine, Job(case=case, payload_bytes=BYTES, batch=1), LOOPS, most_rounds=3)
    yield Row(engine, Job(case="sharing", payload_bytes=BYTES, batch=1, handles=2), LOOPS, most_rounds=3)


def _headers(engine: str) -> Iterator[Row]:
    """What is not used should cost nothing."""
    for case, batch in (("enqueue", 1), ("enqueue_many", 1000), ("whole_life", 100)):
        yield Row(engine, _repeated(case, batch), HEADERS, f"{case}_headers")
    yield Row(engine, Job(case="size", payload_bytes=BYTES, batch=1), HEADERS, most_rounds=1)


def _two_handles(engine: str) -> Iterator[Row]:
    for batch in (1, 100):
        yield Row(engine, _repeated("whole_life", batch, handles=2), DATABASES, "whole_life_two_handles")


def _backlogs(engine: str, backlogs: Iterable[int]) -> Iterator[Row]:
    """What must not cost more with more messages in the mailbox."""
    quick = engine in QUICK_BROWSERS
    for backlog in backlogs:
        status = _repeated("status", ONE_BATCH, backlog=backlog)
        yield Row(engine, status, DATABASES, _at("status", backlog), keeps_store=True, quick=quick and backlog < 10_000)
        claim = _repeated("claim_latency", ONE_BATCH, backlog=backlog)
        yield Row(engine, claim, DATABASES, _at("dequeue", backlog), keeps_store=True, quick=quick and backlog < 10_000)


def _recoveries(engine: str) -> Iterator[Row]:
    quick = engine in QUICK_BROWSERS
    for inflight in (10, 1_000, 10_000):
        job = Job(case="recovery", payload_bytes=BYTES, batch=1, backlog=inflight, handles=2)
        yield Row(engine, job, (OURS, RAW), f"recovery_of_{inflight}", quick=quick and inflight == 10)
        # messages come back alone after a death: draining 10,000 says no more than draining 1,000, and takes long
        rounds = 9 if inflight == 10 else 3 if inflight == 1_000 else 1
        drain = Job(case="drain", payload_bytes=BYTES, batch=ONE_BATCH, backlog=inflight, handles=2)
        yield Row(engine, drain, (OURS,), f"drain_of_{inflight}", most_rounds=rounds)


def _beside_the_queue(engine: str) -> Iterator[Row]:
    yield Row(engine, Job(case="wake_up", payload_bytes=BYTES, batch=1), (OURS,), quick=engine in QUICK_BROWSERS)
    opening = Job(case="opening", payload_bytes=BYTES, batch=1, backlog=1000)
    yield Row(engine, opening, (OURS, RAW, "dexie", "pyscript"))
    importing = Job(case="importing", payload_bytes=BYTES, batch=1)
    yield Row(engine, importing, (OURS, "persist-queue", "litequeue", "pyscript"), quick=engine in QUICK_BROWSERS)


def _sizes(engine: str, size: int, durability: Durability, queues: tuple[str, ...]) -> Iterator[Row]:
    def job(case: str, batch: int) -> Job:
        return Job(case=case, payload_bytes=size, batch=batch, durability=durability, seconds=SECONDS)

    yield Row(engine, job("enqueue", 1), (queues[0], PUTS, *queues[1:]))
    yield Row(engine, job("enqueue_many", 100), (OURS, PUTS, RAW, "dexie"))
    for batch in (1, 100):
        yield Row(engine, job("whole_life", batch), queues)


def _repeated(case: str, batch: int, *, backlog: int = 0, durability: Durability = "strict", handles: int = 1) -> Job:
    return Job(
        case=case,
        payload_bytes=BYTES,
        batch=batch,
        backlog=backlog,
        durability=durability,
        handles=handles,
        seconds=SECONDS,
    )


def _in_a_life(batch: int) -> tuple[str, ...]:
    return (*QUEUES, RECORDS) if batch == 1 else (*QUEUES, BATCHED)


def _at(case: str, backlog: int) -> str:
    return f"{case}_at_{backlog}"
