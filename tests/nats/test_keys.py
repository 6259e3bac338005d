"""Servers that let in whoever signs with a key."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nkeys
import pytest

from pymailbox import ConnectionLostError, StorageUnavailableError, open_mailbox
from pymailbox.backends.jetstream import JetStreamMailbox
from tests.nats.test_connecting import server, works
from tools.nats_servers import Server

__all__ = ["server"]

LIMITS = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
STORAGE = ("mem_storage", "disk_storage", "streams", "consumer", "mem_max_stream_bytes", "disk_max_stream_bytes")
EVERYTHING: dict[str, Any] = {"pub": {}, "sub": {}}


def key(prefix: int) -> Any:
    return nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), prefix))


def public(of: Any) -> str:
    return str(of.public_key.decode())


def token(issuer: Any, subject: Any, says: dict[str, Any], expires: float | None = None) -> str:
    """What an operator or an account says of another one, signed."""
    claims = {"jti": "x", "iat": int(time.time()), "iss": public(issuer), "name": "x", "sub": public(subject)}
    if expires is not None:
        claims["exp"] = int(expires)
    parts = {"typ": "JWT", "alg": "ed25519-nkey"}, claims | {"nats": says | {"version": 2}}
    body = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return (body + b"." + base64.urlsafe_b64encode(issuer.sign(body)).rstrip(b"=")).decode()


async def test_a_key(server: Callable[[str], Server], tmp_path: Path) -> None:
    user, stranger = key(nkeys.PREFIX_BYTE_USER), key(nkeys.PREFIX_BYTE_USER)
    guarded = server(f"authorization {{ users: [ {{ nkey: {public(user)} }} ] }}")
    location = f"nats://{guarded.address}/inbox"
    seed = tmp_path / "seed"
    seed.write_bytes(user.seed)
    await works(location, {"nkeys_seed": str(seed)}, guarded)
    await works(location, {"nkeys_seed_str": user.seed.decode()}, guarded)
    with pytest.raises(StorageUnavailableError, match=r"(?i)authorization") as error:
        await open_mailbox(location, connect={"nkeys_seed_str": stranger.seed.decode()})
    assert stranger.seed.decode() not in str(error.value)


async def test_a_file_of_credentials(server: Callable[[str], Server], tmp_path: Path) -> None:
    """Also one that has expired, and one that expires while a mailbox is open."""
    operator, account, system = key(nkeys.PREFIX_BYTE_OPERATOR), *(key(nkeys.PREFIX_BYTE_ACCOUNT) for _ in range(2))
    user = key(nkeys.PREFIX_BYTE_USER)
    limits = dict.fromkeys(LIMITS, -1) | {"wildcards": True}
    of_account = {"type": "account", "default_permissions": EVERYTHING}
    accounts = {
        public(account): token(operator, account, of_account | {"limits": limits | dict.fromkeys(STORAGE, -1)}),
        public(system): token(operator, system, of_account | {"limits": limits}),
    }
    of_operator = {"type": "operator", "system_account": public(system)}
    guarded = server(
        f"operator: {token(operator, operator, of_operator)}\nsystem_account: {public(system)}\n"
        f"resolver: MEMORY\nresolver_preload: {json.dumps(accounts)}"
    )
    location = f"nats://{guarded.address}/inbox"

    def credentials(expires: float | None = None) -> dict[str, object]:
        of_user = {"type": "user", **EVERYTHING, "subs": -1, "data": -1, "payload": -1}
        file = tmp_path / "alice.creds"
        blocks = {"NATS USER JWT": token(account, user, of_user, expires), "USER NKEY SEED": user.seed.decode()}
        file.write_text(
            "\n".join(f"-----BEGIN {name}-----\n{text}\n------END {name}------\n" for name, text in blocks.items())
        )
        return {"user_credentials": str(file)}

    await works(location, credentials(), guarded)
    with pytest.raises(StorageUnavailableError, match=r"(?i)authorization") as error:
        await open_mailbox(location, connect=credentials(time.time() - 60))
    assert not error.value.passing
    async with open_mailbox(location, connect=credentials(time.time() + 6)) as mailbox:
        assert isinstance(mailbox, JetStreamMailbox)
        await mailbox.enqueue(b"", b"hello")
        async with asyncio.timeout(20):
            while not mailbox._link.is_closed:  # noqa: ASYNC110  no event tells
                await asyncio.sleep(0.1)
        assert mailbox._away_since is not None
        with pytest.raises(ConnectionLostError, match="expired"):
            await mailbox.enqueue(b"", b"hello")
