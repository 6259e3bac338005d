"""The NATS servers that an environment has started: their addresses, and what they cost."""

from __future__ import annotations

import json
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Place:
    """Set by `bench.environments`."""

    addresses: str = ""
    """HOST:PORT of each, with commas between them."""
    replicas: int = 1
    scheme: str = "nats"
    """`ws` in a page."""
    processes: tuple[int, ...] = ()
    """Their process ids; none in a page, which cannot ask."""
    monitors: tuple[str, ...] = ()
    """URLs where they tell how they are."""

    @property
    def urls(self) -> list[str]:
        """One for each server, as nats-py takes them."""
        return [f"{self.scheme}://{address}" for address in self.addresses.split(",")]

    def location(self, mailbox: str, stream: str) -> str:
        """As `open_mailbox` takes it."""
        return f"{self.scheme}://{self.addresses}/{mailbox}?stream={stream}&replicas={self.replicas}"

    def processor_seconds(self) -> float:
        """What all of them have used of processors so far; Linux tells it."""
        threads = [thread for process in self.processes for thread in Path(f"/proc/{process}/task").iterdir()]
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    def sent_bytes(self) -> int:
        """What all of them have sent to clients so far: messages, with their headers."""
        return sum(int(json.load(urllib.request.urlopen(url))["out_bytes"]) for url in self.monitors)

    def resident_bytes(self) -> int:
        """What all of them have in memory; Linux tells it."""
        pages = sum(int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in self.processes)
        return pages * os.sysconf("SC_PAGE_SIZE")


PLACE = Place()
