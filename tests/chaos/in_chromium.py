"""Rounds in Chromium, on the IndexedDB of a profile that survives the killing of its browser, or on a NATS server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from tests.chaos.devtools import Chromium, DevToolsError, NoAnswerError, Tab
from tests.chaos.plans import IN_CHROMIUM, Kind, Plan
from tests.chaos.recorder import VICTIM, JournalServer
from tests.chaos.rounds import STANDSTILLS, StandstillError, stood_still
from tests.lanes.in_pyodide import install_nats, install_wheel
from tests.lanes.runtimes import PythonRuntime, harness_path
from tools.nats_servers import Servers
from tools.serve import HOST, Server

T = TypeVar("T")


class ChromiumStage:
    """One profile and one browser, which is restarted after it was killed."""

    kinds: Sequence[Kind] = IN_CHROMIUM

    def __init__(self, host: str = HOST, flags: Sequence[str] = ()) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pymailbox-chaos-"))
        self._flags = flags
        self._profiles = 1
        self.server = JournalServer(host)
        self._browser: Chromium | None = None
        self._onlooker: Tab | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_browser()
        self.server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def browser(self) -> Chromium:
        """The browser, started if necessary."""
        if self._browser is None:
            self._browser = Chromium(self._folder / f"profile-{self._profiles}", self._flags)
        return self._browser

    @property
    def onlooker(self) -> Tab:
        """A tab that is only killed with its browser."""
        if self._onlooker is None:
            self._onlooker = self.open_tab("page")
        return self._onlooker

    def open_tab(self, place: str) -> Tab:
        """A tab with Python in `place`, the wheel and `actor`."""
        tab = self.browser.open(self.server.url + harness_path(place))
        tab.wait_until("'runPython' in globalThis")
        prepare(tab, self.server)
        return tab

    def location(self, name: str) -> str:
        """Where a mailbox is."""
        return f"indexeddb://{name}"

    def kill_browser(self) -> None:
        """SIGKILL."""
        if self._browser is not None:
            self._browser.kill()
        self._browser = self._onlooker = None

    def check(self, *tabs: Tab) -> None:
        """Raises `StandstillError` if Python in the onlooker or `tabs` does not react although no page is computing."""
        still = [tab for tab in (self.onlooker, *tabs) if not tab.answers('runPython("0")')]
        if still and not self.browser.pages_compute():
            raise StandstillError("its page answers" if all(tab.answers() for tab in still) else "nor does its page")

    def patiently(self, play: Callable[[], T]) -> T:
        """Plays something that takes some calls, and plays it again if the browser stood still."""
        for _ in range(STANDSTILLS):
            try:
                return play()
            except NoAnswerError as error:
                try:
                    self.check()
                except StandstillError as standstill:
                    stood_still.append(f"{error}, {standstill}")
                    self.renew()
                else:
                    raise
        raise StandstillError(f"{STANDSTILLS} times")

    def renew(self) -> None:
        """Another browser, on another profile."""
        self.kill_browser()
        self._profiles += 1

    @contextmanager
    def round(self, plan: Plan) -> Iterator[ChromiumScene]:
        """A round on mailboxes of its own."""
        scene = ChromiumScene(self, plan)
        try:
            yield scene
        finally:
            scene.end_victim()


class ServedChromiumStage(ChromiumStage):
    """The same pages and workers, on a NATS server."""

    def __init__(self) -> None:
        super().__init__()
        self._servers = Servers(1, origins=[self.server.url]).__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._servers.__exit__()

    def open_tab(self, place: str) -> Tab:
        """As there, with nats-py."""
        tab = super().open_tab(place)
        install_nats(tab)
        return tab

    def location(self, name: str) -> str:
        """Where a mailbox is."""
        return f"ws://{self._servers.websockets}/{name}?stream=chaos"


class ChromiumScene:
    """The actors of one round; the victim has a tab of its own."""

    def __init__(self, stage: ChromiumStage, plan: Plan) -> None:
        self._stage = stage
        self._kind = plan.kind
        name = f"{plan.number}-{plan.seed}"
        self.recorder, path = stage.server.next_round(name)
        self._plan = plan.for_actors((stage.location(f"box-{name}"), stage.location(f"target-{name}")))
        self._post = f"actor.page_post({stage.server.url + path!r})"
        stage.onlooker  # noqa: B018 - loads Python there before the round begins
        self._victim: Tab | None = stage.open_tab(plan.kind.place)
        self._killed = False

    def start(self, role: str) -> None:
        """Begin the work of an actor."""
        tab = self._victim if role == VICTIM else self._stage.onlooker
        assert tab is not None
        tab.run_async(f"actor.start({role!r}, {self._plan!r}, {self._post}); None")

    def kill(self) -> None:
        """End the victim, or make it seem so, as the plan says."""
        assert self._victim is not None
        self._killed = True
        ways: dict[str, Callable[[], None]] = {
            "browser killed": self._stage.kill_browser,
            "tab closed": self._victim.close,
            "tab closed, in a loop": self._victim.close,
            "tab reloaded": self._victim.reload,
            "page crashed": self._victim.crash,
            "worker ended": self._end_worker,
            "worker ended, in a loop": self._end_worker,
            "tab with worker closed": self._victim.close,
            "back/forward cache": self._leave,
            "frozen": self._victim.freeze,
        }
        ways[self._kind.name]()
        if self._kind.takes_all or "closed" in self._kind.name:
            self._victim = None

    def bring_back(self) -> bool:
        """Let a living victim continue; False if it is gone after all."""
        assert self._victim is not None
        if self._kind.name == "frozen":
            self._victim.thaw()
            return True
        self._victim.go_back()
        self._victim.wait_until("'runPython' in globalThis")
        return bool(self._victim.evaluate("'isTheVictim' in globalThis"))

    def end_victim(self) -> None:
        """Close its tab, if it exists."""
        if self._victim is not None:
            self._victim.close()
        self._victim = None

    def check(self) -> None:
        """Raises `StandstillError` if the Python of a page does not react although none is computing."""
        self._stage.check(*([self._victim] if self._victim is not None and not self._killed else []))

    def state_of_victim(self) -> str:
        """What its tasks wait for."""
        if self._victim is None:
            return "it is gone"
        try:
            return str(self._victim.run_async("actor.what_goes_on()"))
        except DevToolsError as error:
            return str(error)

    def _end_worker(self) -> None:
        assert self._victim is not None
        self._victim.evaluate("endWorker()")

    def _leave(self) -> None:
        assert self._victim is not None
        self._victim.evaluate("globalThis.isTheVictim = true")
        self._victim.go_to(f"{self._stage.server.url}/tests/chaos/elsewhere.html")
        self._victim.wait_until("location.pathname.endsWith('elsewhere.html')")


def prepare(python: PythonRuntime, server: Server) -> None:
    """Install the wheel, and fetch `actor`."""
    install_wheel(python, server)
    python.run_async(
        f"""
        from pathlib import Path
        from pyodide.http import pyfetch

        Path("actor.py").write_text(await (await pyfetch("{server.url}/tests/chaos/actor.py")).string())
        import actor
        """
    )
