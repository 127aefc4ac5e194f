"""Who is measured: commands with placeholders, the policy that each decides by, and the questions it gets. No I/O."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.bench.large import large_policy
from tests.support import SIDECAR

_HERE: Final = Path(__file__).parent
SERVER: Final = (sys.executable, "-I", "-S", str(_HERE / "server.py"))

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

    `always_new` makes each question differ from all before in an argument that the rule reads.
    """

    name: str
    role: Literal["direct", "relay", "opa", "sidecar", "peer"]
    meaning: str
    command: tuple[str, ...] = ()
    policy: str = ONE_RULE
    always_new: bool = False

    @property
    def counted(self) -> bool:
        """True where every call is counted in a store."""
        return self.policy == COUNTED


def contenders(peers: Sequence[tuple[str, str]], large: bool = False) -> list[Contender]:
    """Everybody in one run, with `large` under a policy of 1,000 tools too; `peers` are names and command templates."""
    # On a busy machine OPA may stall: that belongs into the figures, and must not become a refusal that ends the run.
    patient = ("--opa-timeout", "5s")
    sidecar = (str(SIDECAR), "run", "-c", "{policy}", "--state-dir", "{state}", *patient, "--", "{server}")
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
    for name, template in peers:
        command = tuple(shlex.split(template))
        ours += [
            Contender(name, "peer", "the same one rule, the same question again and again", command),
            Contender(f"{name}, counted", "peer", "the same rate limit", command, policy=COUNTED),
        ]
    return ours


def expand(command: Sequence[str], policy: str, state: str, server: Sequence[str]) -> list[str]:
    """The words of a command with {policy}, {state} and {server} filled in; {server} as a word is several words."""
    words: list[str] = []
    for word in command:
        if word == "{server}":
            words += server
        else:
            filled = word.replace("{policy}", policy).replace("{state}", state)
            words.append(filled.replace("{server}", shlex.join(server)))
    return words


def peers(entries: Iterable[str]) -> list[tuple[str, str]]:
    """Names and command templates out of `name=command` entries, blank ones left out. Raises ValueError."""
    found: list[tuple[str, str]] = []
    for entry in entries:
        if not entry.strip():
            continue
        name, equals, command = (part.strip() for part in entry.partition("="))
        if not (name and equals and command):
            raise ValueError(f"a peer is written name=command, not {entry.strip()!r}")
        if "{server}" not in command:
            raise ValueError(f"the command of {name} has no {{server}}: nothing would stand behind it")
        if name in (known for known, _ in found):
            raise ValueError(f"two peers are called {name}")
        shlex.split(command)
        found.append((name, command))
    return found
