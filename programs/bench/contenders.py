"""Who is measured: commands with placeholders, the policy each decides by, and the questions it gets. Runs nothing."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from programs.bench.large import RULES, many_tools
from sidecar.engine.together import MOST
from tests.support import ROOT, SIDECAR

Over: TypeAlias = Literal["stdio", "http"]

FEW_TOOLS: Final = 10
MANY_TOOLS: Final = 1000
MEGABYTE: Final = 1_000_000
OKX: Final = ROOT / "policies" / "okx-trading.yaml"

_HERE: Final = Path(__file__).parent
SERVER: Final = (sys.executable, "-I", "-S", str(_HERE / "server.py"))
HTTP_SERVER: Final = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "programs.bench.http_server", "{port}")

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
REFUSING: Final = ONE_RULE.replace("value: 1000000000", "value: 0")
REFUSAL: Final = "[INTERCEPT POLICY DENIED] too large\nDo not repeat this call unchanged."
PATTERNS: Final = (
    ONE_RULE
    + """\
  "ec*":
    rules:
      - name: "no less than nothing"
        conditions:
          - {path: "args.sz", op: "gte", value: 0}
  "*o":
    rules:
      - name: "not this file"
        conditions:
          - {path: "args.path", op: "neq", value: "secret.md"}
  "*":
    rules:
      - name: "size, whatever the tool"
        conditions:
          - {path: "args.sz", op: "lte", value: 2000000000}
"""
)
WITHIN: Final = ONE_RULE.replace(
    "        on_deny:", '          - {path: "args.file", op: "within", value: "/srv/data"}\n        on_deny:'
)
A_FILE: Final = '"file":"/srv/data/2026/../2026/november/report.md"'
EACH: Final = ONE_RULE.replace(
    "        on_deny:", '          - {path: "args.orders[*].amount", op: "lte", value: 500}\n        on_deny:'
)
TEN_ORDERS: Final = '"orders":' + json.dumps([{"id": number, "amount": number + 0.25} for number in range(10)])
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
    argument that the rule reads; `payload` is the least number of bytes in an argument that no rule reads, and `more`
    other arguments as JSON. Where every call is to be refused, `refusal` is the text of the answer. OPA alone gets
    `together` questions in each request.
    """

    name: str
    role: Literal["direct", "relay", "opa", "sidecar", "peer"]
    meaning: str
    command: tuple[str, ...] = ()
    policy: str = ONE_RULE
    always_new: bool = False
    over: Over = "stdio"
    payload: int = 0
    more: str = ""
    refusal: str = ""
    together: int = 1

    @property
    def way(self) -> tuple[Over, int]:
        """What the calls look like on their way: only contenders whose calls look the same are compared."""
        return self.over, self.payload


class Peer(NamedTuple):
    """Another proxy: its name, its command with placeholders, and what it speaks on both sides."""

    name: str
    command: str
    over: Over = "stdio"


def contenders(peers: Sequence[Peer], large: bool = False) -> list[Contender]:
    """Everybody in one run; `large` brings in a policy of 1,000 tools."""
    return [
        *_on_pipes(), *_with_many_rules(large), *_of_peers(peers, "stdio"),
        *_with_long_calls(),
        *_on_http(), *_of_peers(peers, "http"),
    ]  # fmt: skip


def starters(peers: Sequence[Peer]) -> list[Contender]:
    """Those whose start is timed."""
    direct, *_ = _on_pipes()
    return [
        direct,
        Contender("sidecar", "sidecar", "one rule", _ON_PIPES),
        Contender("sidecar, OKX", "sidecar", f"the policy {OKX.name}", _ON_PIPES, policy=okx_policy()),
        *(peer for peer in _of_peers(peers, "stdio") if peer.policy == ONE_RULE),
    ]


def watched() -> Contender:
    """The one whose memory is watched. A million audit lines go nowhere, so that they need no room on a disk."""
    return Contender(
        "sidecar, OKX", "sidecar", f"the policy {OKX.name}, with the tool that is called instead of its rule for all",
        (*_SIDECAR, "--audit", "/dev/null", "--", "{server}"), policy=okx_policy(),
    )  # fmt: skip


def okx_policy() -> str:
    """The policy of a trading desk; its limit for all calls together makes room for the tools of the server here."""
    text, found, _ = OKX.read_text().partition('  "*":\n')
    assert found, f"{OKX} has no rules for every tool: what else limits how often a tool is called?"
    return f"{text}{ONE_RULE.partition('tools:')[2].lstrip(chr(10))}  count:\n    rules:\n      - action: allow\n"


def _on_pipes() -> list[Contender]:
    relay = (*_RELAY, "{server}")
    return [
        Contender("direct", "direct", "the server itself, its own time", ("{server}",)),
        Contender("relay", "relay", "two pipes on uvloop, nothing read or decided: the floor for a proxy", relay),
        Contender("opa alone", "opa", "one decision over the unix socket, its own time: no client, no server",
                  always_new=True),
        Contender(f"opa alone, {MOST} together", "opa", f"{MOST} decisions in one request: times and CPU are of all",
                  always_new=True, together=MOST),
        Contender("sidecar, repeated", "sidecar", "one rule, the same question again and again", _ON_PIPES),
        Contender("sidecar, new", "sidecar", "one rule, the argument that it reads is new each time", _ON_PIPES,
                  always_new=True),
        Contender("sidecar, refused", "sidecar", "as `sidecar, new`, and the rule refuses every call", _ON_PIPES,
                  policy=REFUSING, always_new=True, refusal=REFUSAL),
        Contender("sidecar, patterns", "sidecar", "as `sidecar, new`, with a rule more of each of ec*, *o and *",
                  _ON_PIPES, policy=PATTERNS, always_new=True),
        Contender("sidecar, within", "sidecar", "as `sidecar, new`, and a path that has to lie within a folder",
                  _ON_PIPES, policy=WITHIN, always_new=True, more=A_FILE),
        Contender("sidecar, each of 10", "sidecar", "as `sidecar, new`, and an amount in each of ten orders", _ON_PIPES,
                  policy=EACH, always_new=True, more=TEN_ORDERS),
        Contender("sidecar, candidate", "sidecar", "as `sidecar, repeated`, beside a candidate in shadow",
                  (*_SIDECAR, "--shadow", "{policy}", "--", "{server}")),
        Contender("sidecar, counted", "sidecar", "a rate limit for all sessions, counted on disk", _ON_PIPES,
                  policy=COUNTED),
    ]  # fmt: skip


def _with_many_rules(large: bool) -> list[Contender]:
    return [
        Contender(f"sidecar, {tools:,} tools", "sidecar", f"as `sidecar, new`, {tools:,} tools with {RULES} rules each",
                  _ON_PIPES, policy=many_tools(tools), always_new=True)
        for tools in (FEW_TOOLS, *([MANY_TOOLS] if large else []))
    ]  # fmt: skip


def _with_long_calls() -> list[Contender]:
    relay = (*_RELAY, "--parse", "{server}")
    return [
        Contender("1 MB direct", "direct", "as `direct`, each call with 1 MB that no rule reads", ("{server}",),
                  payload=MEGABYTE),
        Contender("1 MB parsing relay", "relay", "as `relay`, each line decoded and encoded again by msgspec", relay,
                  payload=MEGABYTE),
        Contender("1 MB sidecar", "sidecar", "as `sidecar, repeated`, with 1 MB", _ON_PIPES, payload=MEGABYTE),
    ]  # fmt: skip


def _on_http() -> list[Contender]:
    where = ("--transport", "http", "--port", "{port}")
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
_SIDECAR: Final = (
    str(SIDECAR), "run", "-c", "{policy}", "--state-dir", "{state}", "--opa-timeout", "5s",
    "--telemetry", "127.0.0.1:0",
)  # fmt: skip
_ON_PIPES: Final = (*_SIDECAR, "--", "{server}")
_RELAY: Final = (sys.executable, "-I", str(_HERE / "relay.py"))


def _of_peers(peers: Sequence[Peer], over: Over) -> list[Contender]:
    found: list[Contender] = []
    for peer in peers:
        if peer.over != over:
            continue
        command = tuple(shlex.split(peer.command))
        name = peer.name if over == "stdio" else f"http {peer.name}"
        if "{policy}" not in peer.command:
            found.append(Contender(name, "peer", "it gets no policy: it only passes on", command, over=over))
            continue
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
