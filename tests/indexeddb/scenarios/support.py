"""What the scenarios share: separate engines, and access to the database like another script's.

An engine that is loaded a second time is a separate context, like another tab's: it shares only the origin with the
first. So most of what happens between tabs can be shown in one page.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pymailbox import Mailbox, MessageRecord, delete_mailbox, list_mailboxes, open_mailbox
from pymailbox.backends.indexeddb import loader

_T = TypeVar("_T")

PATIENCE = 60.0
"""Seconds after which something that must happen counts as not happening."""

SCENARIO_SECONDS = 240.0
"""When a scenario counts as hanging."""

Settings = Mapping[str, Any]
"""Settings of an engine, as in ``js/engine/settings.js``; see ``new_context``."""

NO_SLOW_POLL: Settings = {"slowPoll": 1e9}
"""A context in which only notifications wake waiters."""

SEGMENTS_APART: Settings = {"carriedSegment": 0}
"""A context that writes even the smallest message into a record of its own."""

_FOREIGN = """
(names, values) => {
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const given = Object.fromEntries(names.map((name, i) => [name, values[i]]));
  return (async () => {
    const db = await done(indexedDB.open("pymailbox"));
    const store = (name) => db.transaction(name, "readwrite").objectStore(name);
    const number = async (mailbox) => (await done(store("mailboxes").get(mailbox))).number;
    const head = async (mailbox) => {
      const id = await number(mailbox);
      const versions = IDBKeyRange.bound([id, 0], [id, Number.MAX_SAFE_INTEGER]);
      const { key, value } = await done(store("journal").openCursor(versions, "prev"));
      return { key, value };
    };
    const readState = async (mailbox) => MailboxState.from((await head(mailbox)).value);
    const writeState = async (mailbox, state) => {
      state.pack();
      const { key: [id, version] } = await head(mailbox);
      await done(store("journal").add(state.toStored(), [id, version + 1]));
    };
    const rows = async (name) => {
      const [keys, values] = await Promise.all([done(store(name).getAllKeys()), done(store(name).getAll())]);
      return keys.map((key, i) => ({ key, value: values[i] }));
    };
    try {
      return await (async () => { SOURCE })();
    } finally {
      db.close();
    }
  })();
}
"""


class Context:
    """A separate engine with its own connection, caches and identity, as in another tab."""

    def __init__(self, js_engine: Any) -> None:
        self._js_engine = js_engine

    async def open(self, name: str, **options: Any) -> Mailbox:
        return await self._with_engine(lambda: _opened(name, options))

    async def delete(self, name: str) -> bool:
        return await self._with_engine(lambda: delete_mailbox(_location(name)))

    async def list(self) -> list[str]:
        return await self._with_engine(lambda: list_mailboxes("indexeddb://"))

    async def _with_engine(self, call: Callable[[], Awaitable[_T]]) -> _T:
        before = loader._loaded
        loader._loaded = self._js_engine
        try:
            return await call()
        finally:
            loader._loaded = before


async def new_context(*settings: Settings) -> Context:
    """Loads the engine again, with some settings changed."""
    from pyodide.ffi import to_js

    from js import Object

    given = {name: value for some in settings for name, value in some.items()}
    js_module = loader._handed_over() or await loader._load_from_wheel()
    return Context(js_module.python.newEngineForPython(to_js(given, dict_converter=Object.fromEntries)))


def of_another_page() -> Settings:
    """A context that is not left or frozen with this page."""
    return {"events": script("new EventTarget()")}


def on_channel(name: str) -> Settings:
    """A context that others do not hear, nor it them, unless they use the same channel."""
    return {"openChannel": script(f"() => new BroadcastChannel({name!r})")}


def mute() -> Settings:
    """A context that hears others, and sends nothing."""
    return {
        "openChannel": script(
            "() => Object.assign(new BroadcastChannel('pymailbox'), { postMessage() {} })",
        )
    }


async def load_model() -> None:
    """Lets ``foreign`` decode states, with ``MailboxState``, and ``run`` for what that does in steps."""
    if script("globalThis.MailboxState !== undefined"):
        return
    # in the wheel the engine is one file
    js_model = await script("import(new URL('/js/model/state.js', location.href))")
    script(
        """(model) => {
          globalThis.MailboxState = model.MailboxState;
          globalThis.run = (steps) => {
            const step = steps.next();
            if (!step.done) throw new Error("a page is not in memory");
            return step.value;
          };
        }"""
    )(js_model)


async def foreign(source: str, **given: Any) -> Any:
    """Runs the body of a JavaScript function as another script of the page would: ``db``, ``store(name)``,
    ``done(request)``, ``rows(store)``, ``number(mailbox)``, ``head(mailbox)``, the key and the value of its last
    version, and the ``given`` arguments are there; after ``load_model`` also ``readState(mailbox)`` and
    ``writeState(mailbox, state)``.
    """
    from pyodide.code import run_js
    from pyodide.ffi import to_js

    told = "".join(f"const {name} = given.{name};" for name in given)
    js_function = run_js(_FOREIGN.replace("SOURCE", told + source))
    js_result = await js_function(to_js(list(given)), to_js(list(given.values())))
    return js_result.to_py() if hasattr(js_result, "to_py") else js_result


def script(source: str) -> Any:
    """The value of a JavaScript expression."""
    from pyodide.code import run_js

    return run_js(source)


@asynccontextmanager
async def script_in_force(install: str) -> AsyncIterator[Any]:
    """Runs a JavaScript function that changes something in the page and returns a function that changes it back."""
    js_undo = script(f"({install})()")
    try:
        yield js_undo
    finally:
        js_undo()


def wall_clock_forward(seconds: float) -> AbstractAsyncContextManager[Any]:
    """Puts the wall clock forward for a while; timers and ``performance.now()`` are not affected."""
    return script_in_force(
        f"""() => {{
          const {{ now }} = Date;
          Date.now = () => now() + {1000 * seconds};
          return () => {{ Date.now = now; }};
        }}"""
    )


@asynccontextmanager
async def busy_storage() -> AsyncIterator[None]:
    """Another script's transaction that does not end, over all stores except the notes."""
    async with script_in_force(
        """() => {
          let busy = true;
          const opening = indexedDB.open("pymailbox");
          opening.onsuccess = () => {
            const database = opening.result;
            const stores = [...database.objectStoreNames].filter((name) => name !== "notes");
            const transaction = database.transaction(stores, "readwrite");
            const store = transaction.objectStore("meta");
            const again = () => { if (busy) store.get("birth").onsuccess = again; };
            transaction.oncomplete = () => database.close();
            again();
            globalThis.busyOfTest = true;
          };
          return () => { busy = false; };
        }"""
    ):
        await asyncio.sleep(0.1)
        yield


def leave_page() -> None:
    """Tells the engines here that the page is left, as the browser tells a page and a page its worker."""
    script("""
        globalThis.dispatchEvent(
            typeof document === "undefined"
                ? new MessageEvent("message", { data: { pymailbox: "release" } })
                : new Event("pagehide")
        )
    """)


def come_back() -> None:
    """Tells the engines here that the page continues after all."""
    script("globalThis.dispatchEvent(new Event('pageshow'))")


async def drain(mailbox: Mailbox, limit: int = 500) -> list[MessageRecord]:
    """Takes everything, and acknowledges nothing."""
    taken: list[MessageRecord] = []
    while batch := await mailbox.dequeue(limit):
        taken += batch
    return taken


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits until a condition holds."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what}: not within {PATIENCE} s"
        await asyncio.sleep(0.02)


async def raised(awaitable: Awaitable[Any]) -> BaseException:
    """The error that something ends in."""
    try:
        value = await awaitable
    except Exception as error:
        return error
    raise AssertionError(f"no error, but {value!r}")


def payloads(records: list[MessageRecord]) -> list[bytes]:
    return [record.payload for record in records]


async def run(scenario: str) -> None:
    """Runs ``module.check_name``."""
    module, name = scenario.split(".")
    await asyncio.wait_for(getattr(importlib.import_module(f"{__package__}.{module}"), name)(), SCENARIO_SECONDS)


def _read(path: Path) -> str:
    return path.read_text("utf-8")


def _write(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")


def _location(name: str) -> str:
    return f"indexeddb://{quote(name, safe='')}"


async def _opened(name: str, options: dict[str, Any]) -> Mailbox:
    return await open_mailbox(_location(name), **options)
