"""Who is measured: commands with placeholders, the policy that each decides by, and the questions it gets. No I/O."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from tests.bench.large import large_policy
from tests.support import ROOT, SIDECAR

Over: TypeAlias = Literal["stdio", "http"]

_HERE: Final = Path(__file__).parent
SERVER: Final = (sys.executable, "-I", "-S", str(_HERE / "server.py"))
HTTP_SERVER: Final = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.bench.http_server", "{port}")

ONE_RULE: Final = """\
version: "1"
tools:
  echo:
    rules:
      - name: "size"
        conditions:
          - {path: "args.sz", op: "lte", value: 1000000000}
        on_deny: "too large"
"""
COUNTED: Final = """\
version: "1"
tools:
  echo:
    rules:
      - name: "many"
        rate_limit: 100000000/day
"""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way from the client to the server. `command` is without placeholders filled in; OPA alone has none.

    `over` is what both the client and the server speak. `always_new` makes each question differ from all before in an
    argument that the rule reads.
    """

    name: str
    role: Literal["direct", "relay", "opa", "sidecar", "peer"]
    meaning: str
    command: tuple[str, ...] = ()
    policy: str = ONE_RULE
    always_new: bool = False
    over: Over = "stdio"

    @property
    def counted(self) -> bool:
        """True where every call is counted in a store."""
        return self.policy == COUNTED


class Peer(NamedTuple):
    """Another proxy: its name, its command with placeholders, and what it speaks on both sides."""

    name: str
    command: str
    over: Over = "stdio"


def contenders(peers: Sequence[Peer], large: bool = False) -> list[Contender]:
    """Everybody in one run, with `large` under a policy of 1,000 tools too."""
    return [
        *_on_pipes(large), *_of_peers(peers, "stdio"),
        *_on_http(), *_of_peers(peers, "http"),
    ]  # fmt: skip


def _on_pipes(large: bool) -> list[Contender]:
    sidecar = (*_SIDECAR, "--", "{server}")
    relay = (sys.executable, "-I", str(_HERE / "relay.py"), "{server}")
    ours = [
        Contender("direct", "direct", "the server itself, its own time", ("{server}",)),
        Contender("relay", "relay", "two pipes on uvloop, nothing read or decided: the floor for a proxy", relay),
        Contender("opa alone", "opa", "one decision over the unix socket, its own time: no client, no server",
                  always_new=True),
        Contender("sidecar, repeated", "sidecar", "one rule, the same question again and again", sidecar),
        Contender("sidecar, new", "sidecar", "one rule, the argument that it reads is new each time", sidecar,
                  always_new=True),
        Contender("sidecar, counted", "sidecar", "a rate limit for all sessions, counted on disk", sidecar,
                  policy=COUNTED),
    ]  # fmt: skip
    if large:
        meaning = "as `sidecar, new`, in a policy of 1,000 tools with 10 rules each"
        ours.append(
            Contender("sidecar, large", "sidecar", meaning, sidecar, policy=large_policy(ONE_RULE), always_new=True)
        )
    return ours


def _on_http() -> list[Contender]:
    where = ("--transport", "http", "--port", "{port}", "--telemetry", "127.0.0.1:0")
    sidecar = (*_SIDECAR, *where, "--upstream", "{upstream}")
    relay = (sys.executable, "-I", str(_HERE / "http_relay.py"), "{port}", "{upstream}")
    return [
        Contender("http direct", "direct", "the server over streamable HTTP, its own time", HTTP_SERVER, over="http"),
        Contender("http relay", "relay", "two sockets on uvloop, nothing read or decided", relay, over="http"),
        Contender("http sidecar, repeated", "sidecar", "HTTP to HTTP: as `sidecar, repeated`", sidecar, over="http"),
        Contender("http sidecar, new", "sidecar", "HTTP to HTTP: as `sidecar, new`", sidecar, always_new=True,
                  over="http"),
        Contender("http sidecar, counted", "sidecar", "HTTP to HTTP: as `sidecar, counted`", sidecar,
                  policy=COUNTED, over="http"),
    ]  # fmt: skip


# On a busy machine OPA may stall: that belongs into the figures, and must not become a refusal that ends the run.
_SIDECAR: Final = (str(SIDECAR), "run", "-c", "{policy}", "--state-dir", "{state}", "--opa-timeout", "5s")


def _of_peers(peers: Sequence[Peer], over: Over) -> list[Contender]:
    found: list[Contender] = []
    for peer in peers:
        if peer.over == over:
            command = tuple(shlex.split(peer.command))
            name = peer.name if over == "stdio" else f"http {peer.name}"
            same = "the same one rule, the same question again and again"
            found += [
                Contender(name, "peer", same, command, over=over),
                Contender(f"{name}, counted", "peer", "the same rate limit", command, policy=COUNTED, over=over),
            ]
    return found


def expand(command: Sequence[str], values: Mapping[str, str], server: Sequence[str] = ()) -> list[str]:
    """The words of a command with each {name} filled in; {server} as a word is several words."""
    words: list[str] = []
    for word in command:
        if word == "{server}":
            words += server
            continue
        for name, value in {**values, "server": shlex.join(server)}.items():
            word = word.replace(f"{{{name}}}", value)  # noqa: PLW2901 - the same word, fuller
        words.append(word)
    return words


def peers(entries: Iterable[str]) -> list[Peer]:
    """The peers in `name=command` and `name=http:command` entries, blank ones left out. Raises ValueError."""
    found: list[Peer] = []
    for entry in entries:
        if not entry.strip():
            continue
        name, equals, command = (part.strip() for part in entry.partition("="))
        over: Over = "http" if command.startswith("http:") else "stdio"
        command = command.removeprefix("http:").strip()
        if not (name and equals and command):
            raise ValueError(f"a peer is written name=command or name=http:command, not {entry.strip()!r}")
        for needed in ("{upstream}", "{port}") if over == "http" else ("{server}",):
            if needed not in command:
                raise ValueError(f"the command of {name} has no {needed}: nothing would stand behind it")
        if (name, over) in ((known.name, known.over) for known in found):
            raise ValueError(f"two peers are called {name}")
        shlex.split(command)
        found.append(Peer(name, command, over))
    return found
