"""The ledger in Redis or Valkey (6 or newer), shared by any number of machines.

One call of a script takes all that a tool call takes, or nothing. Each window of a counter is a key of its own, which
expires some windows after its end, so a late refund finds its own window or none. A counter whose window slides is one
key with all its slices. A Redis Cluster cannot be used: the keys of one claim would be on several machines.

After a failover behind one address, the old primary refuses a script and changes nothing. Its connections are dropped
then, and the script runs once more on a new one.
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
from sidecar.ledger import sliding
from sidecar.ledger.keys import carry_over, check_prefix, key
from sidecar.ledger.protocol import NOTHING_SEEN, Claim, Claimed, Exhausted, Moved, Taken
from sidecar.ledger.scripts import GIVE_BACK, LOOK, MOVED, TAKE
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen
from sidecar.text import shown

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.0
PATIENCE: Final = 2.0
"""Seconds that an operation may take in all, including the wait for a connection."""

CARRY_SECONDS: Final = 60.0
"""Seconds that a start may scan all keys for counters under old names."""

CONNECTIONS: Final = 8
KEPT: Final = 2
"""Windows that a total is kept after the end of its own, so that a late refund still finds it."""
KEPT_SHORT: Final = 168
KEPT_SECONDS: Final = 7 * 86400
"""Short windows are kept for this many of them, up to a week: if Redis' clock is ahead for a moment, keys expire."""

PLACES: Final = 63
"""Totals are whole numbers of 10^-63: the last digit of an amount of 34 digits that begins at 10^-30."""

UNITS: Final[int] = 10**PLACES
MAX_DIGITS: Final = 1000
"""More digits than any sum of amounts has; a longer total was not written by us."""

_EXACT: Final = Context(prec=1000, Emin=-9999, Emax=9999)

_DSN: Final = re.compile(
    r"""(?: rediss?:// (?:[^@/?#]*@)? (?P<host>[^@/?#]+) (?:/[0-9]*)?
          | unix:// (?:[^@/?#]*@)? (?P<path>/[^@?#]+) )
        (?: \? (?:db|ssl_[a-z_]+)=[^@&#]* (?:&(?:db|ssl_[a-z_]+)=[^@&#]*)* )?""",
    re.VERBOSE,
)
"""Narrower than what the library accepts. There is no `@` but the one after the password, so that no part of a password
is taken for a host if it is not percent-encoded; and no option that would repeat a claim or outlast a time-out."""

_Result = TypeVar("_Result")


class RedisLedger:
    """Counters in the database that `dsn` names, under keys that begin with `prefix`; `clock` gives Unix seconds.

    A claim whose answer is lost is not repeated: it may have been taken, which only makes a limit tighter. Raises
    `StoreUnavailable` for a malformed DSN; `check` tells whether it works.
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
        """Connect, log in, load the scripts and carry over old counters of `server`. Raises `StoreUnavailable`."""
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
        """None: the network always needs waiting."""
        return None

    async def claim(self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = ()) -> Claimed:
        now = self._clock()
        entries = tuple(Entry(wanted, sliding.start_of(wanted, now)) for wanted in reservations)
        keys = [self._key_of(entry) for entry in entries]
        arguments = [text for entry in entries for text in _arguments(entry, now)]
        if seen:
            keys += [*(self._key(one.counter, now) for one in seen), self._none]
            arguments += [text for one in seen for text in (_units(one.total), _first(one.counter, now))]
        answer = await self._ask(partial(self._take, keys, [len(entries), *arguments]))
        if answer == MOVED:
            return Moved()
        match answer:
            case [int(position), bytes(falls)]:
                return Exhausted(position, _seconds(entries[position], falls, now))
        return Claim(entries, tuple(map(_amount, answer)))

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        now = self._clock()
        keys = [self._key(one, now) for one in counters]
        if not keys:
            return ()
        arguments = [_first(one, now) for one in counters]
        return tuple(map(_amount, await self._ask(partial(self._look, [self._none, *keys], arguments))))

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        """False, unless there is nothing to give back: the network always needs waiting."""
        return not entries

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        keys = [self._key_of(entry) for entry in entries]
        arguments = [text for entry in entries for text in (_units(entry.reservation.amount), _slice(entry))]
        await self._ask(partial(self._return, keys, arguments))

    async def close(self) -> None:
        with suppress(RedisError, OSError):  # closing may fail: nothing depends on it
            await self._redis.aclose()

    def _key_of(self, entry: Entry) -> str:
        taken = entry.reservation
        start = None if taken.sliding else entry.start
        return key(self._prefix, taken.counter, taken.holder, taken.window, start)

    def _key(self, one: Counter, now: float) -> str:
        start = None if one.sliding else sliding.start_of(one, now)
        return key(self._prefix, one.counter, one.holder, one.window, start)

    async def _is_cluster(self) -> bool:
        with suppress(NoPermissionError):  # then a cluster refuses the first call with two limits
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


def _arguments(entry: Entry, now: float) -> tuple[str, str, int, str, str]:
    wanted = entry.reservation
    left = wanted.window + wanted.window / sliding.SLICES if wanted.sliding else entry.start + wanted.window - now
    kept = max(KEPT * wanted.window, min(KEPT_SHORT * wanted.window, KEPT_SECONDS))
    return _units(wanted.amount), _most(wanted), math.ceil(left + kept), _first(wanted, now), _slice(entry)


def _first(one: Reservation | Counter, now: float) -> str:
    """The first slice that counts; empty where the window does not slide."""
    return str(sliding.first_counted(sliding.start_of(one, now))) if one.sliding else ""


def _slice(entry: Entry) -> str:
    """The slice that an entry is in; empty where the window does not slide."""
    return str(entry.start) if entry.reservation.sliding else ""


def _seconds(entry: Entry, falls: bytes, now: float) -> int:
    """Seconds until a reservation fits; `falls` is the slice that has to fall out for it, empty for none."""
    wanted = entry.reservation
    if not wanted.sliding:
        return max(1, math.ceil(entry.start + wanted.window - now))
    return sliding.seconds_until_fallen(int(falls), wanted.window, now) if falls else wanted.window


def _units(amount: Amount) -> str:
    """An amount in whole units. No decision holds a finer one; it would be rounded up."""
    return str(_whole(amount, ROUND_CEILING))


def _most(wanted: Reservation) -> str:
    """The most units that the total may be; empty without a limit, `-` for a limit below 0."""
    if wanted.limit is None:
        return ""
    most = _whole(wanted.limit, ROUND_CEILING) - 1 if wanted.exclusive else _whole(wanted.limit, ROUND_FLOOR)
    return str(most) if most >= 0 else "-"


def _whole(number: Amount, rounding: str) -> int:
    if isinstance(number, int):
        return number * UNITS
    return int(number.scaleb(PLACES, _EXACT).to_integral_value(rounding, _EXACT))


def _amount(units: Any) -> Amount:
    """The amount that the store holds, 0 for none. Raises `StoreUnavailable` if it is no number."""
    if units is None:
        return 0
    if not isinstance(units, bytes) or not units.isdigit() or len(units) > MAX_DIGITS:
        raise StoreUnavailable("the store of counters holds a total that is no number")
    whole, rest = divmod(int(units), UNITS)
    return Decimal(int(units)).scaleb(-PLACES, _EXACT).normalize(_EXACT) if rest else whole
