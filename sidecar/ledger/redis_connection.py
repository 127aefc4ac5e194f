"""Connections to one Redis or Valkey: its address, the time that a question may take, and a failover behind it.

After a failover behind one address, the old primary refuses a script and changes nothing. Its connections are dropped
then, and the question is put once more on a new one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.commands.core import AsyncScript
from redis.exceptions import BusyLoadingError, MasterDownError, NoPermissionError, ReadOnlyError, RedisError

from sidecar.errors import StoreUnavailable
from sidecar.text import shown

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0
PATIENCE: Final = 2.0
"""Seconds that an operation may take in all, including the wait for a connection."""

CONNECTIONS: Final = 8

_DSN: Final = re.compile(
    r"""(?: rediss?:// (?:[^@/?#]*@)? (?P<host>[^@/?#]+) (?:/[0-9]*)?
          | unix:// (?:[^@/?#]*@)? (?P<path>/[^@?#]+) )
        (?: \? (?:db|ssl_[a-z_]+)=[^@&#]* (?:&(?:db|ssl_[a-z_]+)=[^@&#]*)* )?""",
    re.VERBOSE,
)
"""Narrower than what the library accepts. There is no `@` but the one after the password, so that no part of a password
is taken for a host if it is not percent-encoded; and no option that would repeat a claim or outlast a time-out."""

_Result = TypeVar("_Result")


class Connection:
    """Questions to the database that `dsn` names. Raises `StoreUnavailable` for a malformed DSN; connects later."""

    def __init__(self, dsn: str) -> None:
        self.where, self._pool = _pool(dsn)
        self.redis = Redis.from_pool(self._pool)

    def script(self, lua: str) -> AsyncScript:
        """A script, to be called with its keys and arguments within a question."""
        return self.redis.register_script(lua)

    async def ask(self, question: Callable[[], Awaitable[_Result]], seconds: float | None = None) -> _Result:
        """Put a question, and once more where a server refused that is not the primary. Raises `StoreUnavailable`."""
        try:
            async with asyncio.timeout(PATIENCE if seconds is None else seconds):
                try:
                    return await question()
                except RedisError as error:
                    if not _is_elsewhere(error):
                        raise
                    await self._pool.drop_idle()
                return await question()
        except (RedisError, OSError, UnicodeError) as error:
            why = shown(str(error)) or "it does not answer"
            raise StoreUnavailable(f"the store of counters at {self.where} cannot be used: {why}") from None

    async def is_cluster(self) -> bool:
        """True for a Redis Cluster."""
        with suppress(NoPermissionError):  # then a cluster refuses the first call with two limits
            said: Any = await self.redis.info("cluster")
            return bool(said.get("cluster_enabled"))
        return False

    async def close(self) -> None:
        """Close all connections."""
        with suppress(RedisError, OSError):  # closing may fail: nothing depends on it
            await self.redis.aclose()


class _Pool(BlockingConnectionPool):
    """Connections to one address."""

    async def drop_idle(self) -> None:
        """Close all idle connections without waiting, so that nobody can take one meanwhile."""
        for connection in self._available_connections:
            await connection.disconnect(nowait=True)


def _is_elsewhere(error: RedisError) -> bool:
    """True for a refusal, which changed nothing, by a server that is not the primary at the moment."""
    return isinstance(error, ReadOnlyError | BusyLoadingError | MasterDownError) or any(
        word in str(error)
        for word in ("NOREPLICAS", "READONLY")  # scripts of Redis 6 wrap the errors of their commands
    )


def _pool(dsn: str) -> tuple[str, _Pool]:
    """The address of the store without its secrets, and a pool of connections to it, empty so far."""
    wrong = StoreUnavailable(
        "the address of the store is wrong: write redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS"
        " (with ?ssl_ca_certs=FILE for a CA of your own), or unix:///PATH; percent-encode what is special in a password"
    )
    found = _DSN.fullmatch(dsn)
    if found is None:
        raise wrong
    try:
        pool = _Pool.from_url(
            dsn,
            max_connections=CONNECTIONS,
            timeout=PATIENCE,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            protocol=2,  # no greeting: the first request goes out at once
            driver_info=None,
        )
        pool.connection_class(**pool.connection_kwargs)  # finds options that do not exist; connects to nothing
    except (ValueError, TypeError, RedisError):
        raise wrong from None  # the library's own words may hold parts of the password
    return found["host"] or found["path"], pool
