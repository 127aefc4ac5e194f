"""The ledger in Redis or Valkey (6 or newer), shared by any number of machines.

One call of a script takes all that a tool call takes, or nothing. Each window of a counter is a key of its own, which
expires some windows after its end, so a late refund finds its own window or none. A counter whose window slides is one
key with all its slices. A Redis Cluster cannot be used: the keys of one claim would be on several machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from sidecar.errors import StoreUnavailable
from sidecar.ledger import admitted
from sidecar.ledger.approval_scripts import CHANGED, SCRIPTS, TAKE_SAME
from sidecar.ledger.approvals import NOTHING_ASKED, SameCall, Wants
from sidecar.ledger.keys import carry_over, check_prefix
from sidecar.ledger.protocol import NOTHING_SEEN, Claimed, Highest, Taken
from sidecar.ledger.redis_approvals import RedisApprovals
from sidecar.ledger.redis_connection import Connection
from sidecar.ledger.redis_counters import Taking, first_counted, giving_back, key_now, never, read_amount, taking
from sidecar.ledger.redis_records import unfinished_question
from sidecar.ledger.redis_transactions import Transactions
from sidecar.ledger.scripts import GIVE_BACK, LOOK, TAKE
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen

CARRY_SECONDS: Final = 60.0
"""Seconds that a start may scan all keys for counters under old names."""


class RedisLedger:
    """Counters and approvals in the database that `dsn` names, under keys that begin with `prefix`.

    `clock` gives Unix seconds, `monotonic` those that nobody sets. A claim whose answer is lost is not repeated: it may
    have been taken, which only makes a limit tighter. Raises `StoreUnavailable` for a malformed DSN; `check` tells
    whether it works.
    """

    def __init__(
        self, dsn: str, prefix: str, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        check_prefix(prefix)
        self._prefix = prefix
        self._clock = clock
        self._connection = Connection(dsn)
        self._take = self._connection.script(TAKE)
        self._take_same = self._connection.script(TAKE_SAME)
        self._return = self._connection.script(GIVE_BACK)
        self._look = self._connection.script(LOOK)
        self._raise = self._connection.script(admitted.RAISE)
        self._transactions = Transactions(self._connection, prefix, clock, monotonic)
        self._approvals = RedisApprovals(self._connection, prefix, self._transactions)

    @property
    def approvals(self) -> RedisApprovals:
        return self._approvals

    async def check(self, server: str) -> None:
        """Connect, log in, load the scripts and carry over old counters of `server`. Raises `StoreUnavailable`."""
        redis, ask = self._connection.redis, self._connection.ask
        for script in (TAKE, GIVE_BACK, LOOK, admitted.RAISE, *SCRIPTS):
            await ask(partial(redis.script_load, script))
        if await ask(self._connection.is_cluster):
            raise StoreUnavailable(
                f"the store of counters at {self._connection.where} is a Redis Cluster, whose slots part the limits of"
                " one call: name a single Redis or Valkey, or the address behind which one of several is the primary"
            )
        await ask(partial(carry_over, redis, self._prefix, server), CARRY_SECONDS)

    def claim_at_once(
        self, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]] = NOTHING_SEEN,
        asked: Mapping[int, Wants] = NOTHING_ASKED,
    ) -> list[Taken] | None:  # fmt: skip
        """None: the network always needs waiting."""
        return None

    async def claim(
        self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = (), asked: Wants | None = None
    ) -> Claimed:  # fmt: skip
        takes = taking(self._prefix, reservations, seen, self._clock())
        if asked is None:
            return takes.claimed(await self._connection.ask(partial(self._take, takes.keys, takes.arguments)))
        if isinstance(asked, SameCall) and (claimed := await self._claim_unhindered(asked, takes)) is not None:
            return claimed
        return await self._approvals.claim(asked, takes)

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        now = self._clock()
        keys = [key_now(self._prefix, one, now) for one in counters]
        if not keys:
            return ()
        arguments = [first_counted(one, now) for one in counters]
        look = partial(self._look, [never(self._prefix), *keys], arguments)
        return tuple(map(read_amount, await self._connection.ask(look)))

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        """False, unless there is nothing to give back: the network always needs waiting."""
        return not entries

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        await self._connection.ask(partial(self._return, *giving_back(self._prefix, entries)))

    async def admit(self, server: str, bundle: Highest) -> Highest:
        keys = [admitted.key(self._prefix, server), never(self._prefix)]
        answer = await self._connection.ask(partial(self._raise, keys, [bundle.serial, bundle.revision]))
        return admitted.read_raised(answer)

    async def close(self) -> None:
        await self._connection.close()

    async def _claim_unhindered(self, same: SameCall, takes: Taking) -> Claimed | None:
        """Take in one step where nobody runs the same call on an approval; None where somebody does, or may have."""
        _, call = unfinished_question(same.server, same.call)
        keys = [*takes.keys, f"{self._transactions.base}|unfinished|{call}", never(self._prefix)]
        answer = await self._connection.ask(partial(self._take_same, keys, takes.arguments))
        return None if answer == CHANGED else takes.claimed(answer)
