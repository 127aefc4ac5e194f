"""The script: what happens when, in seconds of a run of two minutes. In less than one it cannot all happen in turn."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from programs.traffic.callers import BROKER, BUYER, WRITER, Broker, Person, Shopper, Told, turns
from programs.traffic.places import TOKEN, World
from programs.traffic.policies import DESK_LATER, stricter, wrong
from tests.support.peer import kill, until
from tests.wire.http.client import Wire

LENGTH: Final = 120.0
"""Seconds that the script takes at its own pace."""
PAUSE: Final = 0.25
"""Seconds between two calls of one agent."""
DEAD: Final = 16.0
"""Seconds for which the shop's server cannot be reached."""
AWAY: Final = 4.0
"""Seconds for which the file of counters is not where it was."""
HOARDED: Final = 110
"""Calls of one agent that wait for a person: more than may."""
TAKEN: Final = "the changed policy is in force"
REFUSED: Final = "the changed policy is refused"
KILLS: Final = 8
"""How often an engine is killed, as soon as there is one again."""

PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
GOOD: Final = f"Authorization: Bearer {TOKEN}"
STRANGERS: Final[tuple[tuple[str, ...], ...]] = (
    ("/mcp", "POST"), ("/mcp", "POST", "Authorization: Bearer guessed"), ("/other", "POST", GOOD),
    ("/mcp", "POST", GOOD, "Origin: https://evil.example"), ("/mcp", "POST", GOOD, "Host: evil.example"),
    ("/mcp", "PUT", GOOD), ("/mcp", "POST", GOOD, "Content-Type: text/plain"),
)  # fmt: skip
"""Requests that are not let in: target, method and headers."""


class Script:
    """One run. `say` gets a line for each thing that happens."""

    def __init__(self, world: World, seconds: float, say: Callable[[str], None]) -> None:
        self.world = world
        self.told = Told()
        self.failed: list[str] = []
        self._pace = seconds / LENGTH
        self._say = say
        self._began = time.monotonic()
        self._over = threading.Event()

    def run(self) -> None:
        """Do everything; returns when the time is over. Raises RuntimeError with what went otherwise than written."""
        writer = Shopper(self.world.shop, "writer", self.told)
        buyer = Shopper(self.world.shop, "buyer", self.told)
        self._asker = Shopper(self.world.shop, "reseller", self.told)
        clerk = Shopper(self.world.shop_too, "clerk", self.told)
        broker = Broker(self.world.desk.process, self.told)
        seller = Broker(self.world.till.process, self.told)
        self._person = Person(self.world.shop)
        self._began = time.monotonic()
        works: list[Callable[[], None]] = [
            lambda: self._calls(writer, WRITER), lambda: self._calls(buyer, BUYER),
            lambda: self._calls(clerk, WRITER), lambda: self._calls(broker, BROKER),
            lambda: self._quotes(seller), self._people, self._strangers, self._events,
        ]  # fmt: skip
        threads = [threading.Thread(target=self._guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        self._at(LENGTH)
        self._over.set()
        for thread in threads:
            thread.join(60)
        if self.failed:
            raise RuntimeError("\n".join(self.failed))

    def _events(self) -> None:
        """What operators do, and what breaks."""
        world = self.world
        policy = world.policy.read_text()
        deeds: tuple[tuple[int, str, Callable[[], None]], ...] = (
            (20, "the shop's policy changes", lambda: self._save(stricter(policy), TAKEN)),
            (30, "somebody saves a wrong policy for the shop", lambda: self._save(wrong(policy), REFUSED)),
            (39, "and puts it right", lambda: self._save(policy, TAKEN)),
            (41, "the desk's policy is published anew", lambda: self._publish(2)),
            (47, "what is published for the desk is damaged", self._damage),
            (52, "and published once more", self._publish_again),
            (55, f"the shop's engine is killed, {KILLS} times", self._kill_engines),
            (67, f"the counters of the shop and the till are away for {AWAY:.0f} s", self._move_counters),
            (74, f"the shop's server is dead for {DEAD:.0f} s", self._stop_server),
            (92, "an agent that ran away deletes pages, 120 times", self._burst),
            (96, f"another asks for {HOARDED} refunds", self._hoard),
            (104, "the till's server ends by itself", self._end_till),
        )  # fmt: skip
        for second, what, deed in deeds:
            if self._at(second):
                return
            self._say(f"{time.monotonic() - self._began:4.0f} s  {what}")
            deed()

    def _calls(self, agent: Shopper | Broker, mix: tuple[tuple[str, dict[str, Any]], ...]) -> None:
        """An agent that calls all the time, and takes what comes."""
        for tool, arguments in turns(mix):
            agent.call(tool, arguments)
            if self._over.wait(PAUSE):
                return

    def _quotes(self, seller: Broker) -> None:
        """The till's agent, until its server is gone."""
        while self.world.till.process.process.poll() is None and not self._over.wait(4 * PAUSE):
            with suppress(AssertionError, BrokenPipeError):
                seller.call("quote", {})
                seller.call("cancel_order", {})
                seller.call("place_order", {"amount": 1})

    def _people(self) -> None:
        """People are asked: they agree, refuse, do not answer, or agree to what nobody knows the outcome of then."""
        for number, second in enumerate((4, 16, 40, 106)):
            if self._at(second):
                return
            for fate, verdict in (("yes", "approve"), ("no", "deny"), ("lost", "approve")):
                order = {"order": f"{number}-{fate}", "fate": fate}
                asked = self._asker.call("refund", order).get("error", {}).get("data", {}).get("approval_id")
                if asked is None:
                    continue  # something else failed just then, as the script has it
                if self._over.wait(1.5 * self._pace):
                    return
                self._person.answers(asked, verdict)
                self._asker.call("refund", order)
                if fate == "lost" and number < 2:
                    self._person.resolves(asked)
            # Nobody answers the first; the second waits until the end.
            self._asker.call("gift", {"order": number})
            self._asker.call("refund", {"order": f"{number}-waits"})

    def _strangers(self) -> None:
        """Requests that are no calls, and that are not let in."""
        world, url = self.world, self._asker.url
        for second in range(6, int(LENGTH), 8):
            if self._at(second):
                return
            for target, method, *headers in STRANGERS:
                with Wire(url) as wire:
                    wire.ask(PING, *headers, target=target, method=method)
                    wire.answer()
            agent = self._asker.agent
            agent.post(b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "ping"}')
            agent.post({"jsonrpc": "2.0", "id": 3, "method": "resources/read", "params": {"uri": "file:///etc/passwd"}})
            agent.post({"jsonrpc": "2.0", "id": 3, "method": "tools/execute", "params": {}})
            agent.post({"jsonrpc": "2.0", "id": "nobody-asked", "result": {}})
            with suppress(OSError, EOFError), Wire(url) as wire:
                wire.send(b"no HTTP at all\r\n\r\n")
                wire.answer()
            if world.desk.process.process.poll() is None:
                world.desk.process.send_bytes(b"this is no message\n")

    def _save(self, policy: str, says: str) -> None:
        """Save the shop's policy, and wait until the sidecar that watches it has said once more what came of it."""
        shop = self.world.shop.process
        before = shop.errors.count(says)
        self.world.policy.write_text(policy)
        until(lambda: shop.errors.count(says) > before, what=says)

    def _publish(self, serial: int) -> None:
        """Publish the desk's policy, and wait until it is in force there."""
        self.world.publish(DESK_LATER, serial)
        self.world.desk.process.wait_for_error(f"the bundle with serial {serial} is in force")

    @property
    def _published(self) -> Path:
        return self.world.folder / "published" / "bundle.tar.gz"

    def _publish_again(self) -> None:
        self._published.unlink()  # nothing is published over what is no bundle
        self._publish(3)

    def _damage(self) -> None:
        """Cut off what is published."""
        bundle = self._published
        whole = bundle.read_bytes()
        new = bundle.with_suffix(".new")
        new.write_bytes(whole[: len(whole) // 2])
        new.replace(bundle)
        self.world.desk.process.wait_for_error("a bundle is refused")

    def _kill_engines(self) -> None:
        for _ in range(KILLS):
            until(lambda: self.world.shop.opa is not None or self._over.is_set(), what="an engine to kill")
            engine = self.world.shop.opa
            if engine is not None:
                kill(engine)
            if self._over.wait(self._pace):
                return

    def _move_counters(self) -> None:
        moved = [self.world.folder / server / "counters.db" for server in ("shop", "till")]
        for counters in moved:
            counters.rename(counters.with_name("counters.away"))
        self._over.wait(AWAY * self._pace)
        for counters in moved:
            counters.with_name("counters.away").rename(counters)

    def _stop_server(self) -> None:
        self.world.server.stop()
        self._over.wait(DEAD * self._pace)
        self.world.server.start_again()

    def _burst(self) -> None:
        greedy = Shopper(self.world.shop, "greedy", self.told)
        for page in range(120):
            greedy.call("delete_page", {"page": page})

    def _hoard(self) -> None:
        hoarder = Shopper(self.world.shop, "hoarder", self.told)
        for number in range(HOARDED):
            hoarder.call("refund", {"order": f"hoarded-{number}"})

    def _end_till(self) -> None:
        self.world.till.process.send({"jsonrpc": "2.0", "id": "end", "method": "tools/call",
                                      "params": {"name": "quote", "arguments": {"stub": "die"}}})  # fmt: skip

    def _at(self, second: float) -> bool:
        """Wait for a second of the script; true when it is over."""
        return self._over.wait(max(0.0, self._began + second * self._pace - time.monotonic()))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the run ends with it
            self.failed.append("".join(traceback.format_exception(error)))
            self._over.set()
