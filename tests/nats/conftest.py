"""What the tests on NATS servers share: each test has a stream of its own there."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import nats
import pytest
from nats.aio.client import Client

from tools.nats_servers import Servers

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave them out of daily work: each waits for servers, minutes in all."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give tests what `SERVERS` of their module names, else either of them."""
    if "servers" in metafunc.fixturenames:
        metafunc.parametrize("servers", getattr(metafunc.module, "SERVERS", ("one", "three")), indirect=True)


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Servers:
    """The fixture `one` or `three`, ready."""
    servers: Servers = request.getfixturevalue(request.param)
    servers.start()  # what an earlier test has ended
    return servers


@pytest.fixture
def one(one: Servers) -> Servers:
    """The same one, ready."""
    one.start()  # what an earlier test has ended
    return one


@pytest.fixture
def stream() -> str:
    """A name that no stream has."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
async def client(servers: Servers) -> AsyncIterator[Client]:
    """nats-py's client, used directly."""
    client = await nats.connect([f"nats://{server.address}" for server in servers.servers])
    yield client
    await client.close()
