"""The addresses of the NATS servers that an environment has started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Place:
    """Set by `bench.environments.OnServers`."""

    addresses: str = ""
    """HOST:PORT of each, with commas between them."""
    replicas: int = 1


PLACE = Place()
