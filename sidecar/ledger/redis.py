"""The ledger in Redis or Valkey (6 or newer), shared by any number of machines.

One call of a script takes all that a tool call takes, or nothing. Each window of a counter is a key of its own that
expires some windows after its end, so a late refund finds its own window or none. Not for a Redis Cluster, where the
keys of one claim would lie on several machines.

A server that refuses a script because another one is to be written to now, as after a failover behind one address, has
changed nothing: its connections are dropped, and the script is put once more on a new one.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import partial
from typing import Any, Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import BusyLoadingError, MasterDownError, NoPermissionError, ReadOnlyError, RedisError

from sidecar.errors import StoreUnavailable
from sidecar.ledger.keys import carry_over, check_prefix, key
from sidecar.ledger.scripts import GIVE_BACK, LOOK, MOVED, TAKE
from sidecar.ledger.values import (
    NOTHING_SEEN,
    Amount,
    Claim,
    Claimed,
    Counter,
    Entry,
    Exhausted,
    Moved,
    Reservation,
    Seen,
    Taken,
    window_start,
)
from sidecar.text import shown

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0
PATIENCE: Final = 2.0
"""Seconds that anything may take in all, the wait for a connection included."""

CARRY_SECONDS: Final = 60.0
"""Seconds that a start may look through all keys, where names of counters have changed."""

CONNECTIONS: Final = 8
KEPT: Final = 2
"""Windows that a total outlives its own at least, so that a late refund still finds it."""
KEPT_SHORT: Final = 168
KEPT_SECONDS: Final = 7 * 86400
"""And so many of short ones, a week at most: a clock of Redis' own that is ahead for a moment makes keys expire."""

PLACES: Final = 63
"""Totals are whole numbers of 10^-63: the last digit of an amount of 34 digits that begins at 10^-30."""

UNITS: Final[int] = 10**PLACES
MAX_DIGITS: Final = 1000
"""More than any sum of amounts has; what is longer was not written by us."""

_EXACT: Final = Context(prec=1000, Emin=-9999, Emax=9999)

_DSN: Final = re.compile(
    r"""(?: rediss?:// (?:[^@/?#]*@)? (?P<host>[^@/?#]+) (?:/[0-9]*)?
          | unix:// (?:[^@/?#]*@)? (?P<path>/[^@?#]+) )
        (?: \? (?:db|ssl_[a-z_]+)=[^@&#]* (?:&(?:db|ssl_[a-z_]+)=[^@&#]*)* )?""",
    re.VERBOSE,
)
"""Narrower than what the library reads: no `@` but the one after the password, so that no part of a password that
is not percent-encoded is taken for a host; no option that would repeat a claim or outwait a time-out."""

_Result = TypeVar("_Result")


class RedisLedger:
    """Counters in the database that `dsn` names, under keys that begin with `prefix`; `clock` gives Unix seconds.

    A claim whose answer is lost on the way is not put again: it may have been taken, which only makes a limit
    tighter. Raises `StoreUnavailable` for a DSN that makes no sense; `check` tells whether it works.
    """

    def __init__(self, dsn: str, prefix: str, clock: Callable[[], float]) -> None:
        check_prefix(prefix)
        self._prefix = prefix
        self._none = f"{prefix}|none"  # a key that never exists
        self._clock = clock
        self._where, self._pool = _pool(dsn)
        self._redis = Redis.from_pool(self._pool)
        self._take = self._redis.register_script(TAKE)
        self._return = self._redis.register_script(GIVE_BACK)
        self._look = self._redis.register_script(LOOK)

    async def check(self, server: str) -> None:
        """Connect, log in, load the scripts and find the counters of `server`. Raises `StoreUnavailable`."""
        for script in (TAKE, GIVE_BACK, LOOK):
            await self._ask(partial(self._redis.script_load, script))
        if await self._ask(self._is_cluster):
            raise StoreUnavailable(
                f"the store of counters at {self._where} is a Redis Cluster, whose slots part the limits of one call:"
                " name a single Redis or Valkey, or the address behind which one of several is the primary"
            )
        await self._ask(partial(carry_over, self._redis, self._prefix, server), CARRY_SECONDS)

    def claim_at_once(
        self, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]] = NOTHING_SEEN
    ) -> list[Taken] | None:
        """None: a network is always waited for."""
        return None

    async def claim(self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = ()) -> Claimed:
        now = self._clock()
        entries = tuple(Entry(wanted, window_start(now, wanted.window)) for wanted in reservations)
        keys = [self._key_of(entry) for entry in entries]
        arguments = [text for entry in entries for text in _arguments(entry, now)]
        if seen:
            keys += [*(self._key_now(one.counter, now) for one in seen), self._none]
            arguments += [_units(one.total) for one in seen]
        answer = await self._ask(partial(self._take, keys, [len(entries), *arguments]))
        if answer == MOVED:
            return Moved()
        if isinstance(answer, int):
            refused = entries[answer]
            return Exhausted(answer, max(1, round(refused.start + refused.reservation.window - now)))
        return Claim(entries, tuple(map(_amount, answer)))

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        now = self._clock()
        keys = [self._key_now(one, now) for one in counters]
        if not keys:
            return ()
        return tuple(map(_amount, await self._ask(partial(self._look, [self._none, *keys]))))

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        """False, unless there is nothing to give back: a network is always waited for."""
        return not entries

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        keys = [self._key_of(entry) for entry in entries]
        await self._ask(partial(self._return, keys, [_units(entry.reservation.amount) for entry in entries]))

    async def close(self) -> None:
        with suppress(RedisError, OSError):  # nothing hangs on a good-bye
            await self._redis.aclose()

    def _key_of(self, entry: Entry) -> str:
        taken = entry.reservation
        return self._key(taken.counter, taken.holder, taken.window, entry.start)

    def _key_now(self, one: Counter, now: float) -> str:
        return self._key(one.counter, one.holder, one.window, window_start(now, one.window))

    def _key(self, counter: str, holder: str, window: int, start: int) -> str:
        return key(self._prefix, counter, holder, window, start)

    async def _is_cluster(self) -> bool:
        with suppress(NoPermissionError):  # then it is refused later, with the first call that has two limits
            said: Any = await self._redis.info("cluster")
            return bool(said.get("cluster_enabled"))
        return False

    async def _ask(self, question: Callable[[], Awaitable[_Result]], seconds: float = PATIENCE) -> _Result:
        try:
            async with asyncio.timeout(seconds):
                try:
                    return await question()
                except RedisError as error:
                    if not _is_elsewhere(error):
                        raise
                    await self._pool.drop_idle()
                return await question()
        except (RedisError, OSError, UnicodeError) as error:
            why = shown(str(error)) or "it does not answer"
            raise StoreUnavailable(f"the store of counters at {self._where} cannot be used: {why}") from None


class _Pool(BlockingConnectionPool):
    """Connections to one address."""

    async def drop_idle(self) -> None:
        """End every connection that nobody uses, without waiting for it: so nobody takes one up meanwhile."""
        for connection in self._available_connections:
            await connection.disconnect(nowait=True)


def _is_elsewhere(error: RedisError) -> bool:
    """True for a refusal, which changed nothing, by a server that is not the one to write to: not now, or no more."""
    return isinstance(error, ReadOnlyError | BusyLoadingError | MasterDownError) or any(
        word in str(error)
        for word in ("NOREPLICAS", "READONLY")  # scripts of Redis 6 wrap what their commands were told
    )


def _pool(dsn: str) -> tuple[str, _Pool]:
    """Where the store is, in words that hold no secret, and connections to it, of which there is none yet."""
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


def _arguments(entry: Entry, now: float) -> tuple[str, str, int]:
    wanted = entry.reservation
    left = entry.start + wanted.window - now
    kept = max(KEPT * wanted.window, min(KEPT_SHORT * wanted.window, KEPT_SECONDS))
    return _units(wanted.amount), _most(wanted), math.ceil(left + kept)


def _units(amount: Amount) -> str:
    """An amount in whole units; one that is finer than them, which no decision holds, is rounded up."""
    return str(_whole(amount, ROUND_CEILING))


def _most(wanted: Reservation) -> str:
    """The most units that the counter may stand at; empty without a limit, `-` when that is less than none."""
    if wanted.limit is None:
        return ""
    most = _whole(wanted.limit, ROUND_CEILING) - 1 if wanted.exclusive else _whole(wanted.limit, ROUND_FLOOR)
    return str(most) if most >= 0 else "-"


def _whole(number: Amount, rounding: str) -> int:
    if isinstance(number, int):
        return number * UNITS
    return int(number.scaleb(PLACES, _EXACT).to_integral_value(rounding, _EXACT))


def _amount(units: Any) -> Amount:
    """The amount in what the store holds, or holds not. Raises `StoreUnavailable` when that is no number."""
    if units is None:
        return 0
    if not isinstance(units, bytes) or not units.isdigit() or len(units) > MAX_DIGITS:
        raise StoreUnavailable("the store of counters holds a total that is no number")
    whole, rest = divmod(int(units), UNITS)
    return Decimal(int(units)).scaleb(-PLACES, _EXACT).normalize(_EXACT) if rest else whole
