"""The demo's words on a terminal: what stands where, and nothing that decides. Text in, text out.

What comes from a policy, which may be somebody else's, or from a program does nothing to the terminal.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from programs.demo.decided import Rule
from programs.demo.exchange import PLACE_ORDER, Received
from programs.demo.metrics import Change
from programs.demo.outcome import requests, worth
from programs.demo.script import Call
from programs.demo.terminal import Paint
from sidecar.text import visible

WIDTH: Final = 80
_VERDICTS: Final = {"allowed": "green", "refused": "yellow", "held": "yellow", "failed": "red"}
_DETAIL: Final = "    "
"""What stands before a rule's lines and the agent's words."""


def paragraph(text: str) -> str:
    """A text in lines that fit."""
    return textwrap.fill(text, WIDTH)


def command(line: str, paint: Paint) -> str:
    """A command as on a terminal."""
    return f"{paint('dim', '$')} {paint('bold', line)}"


def call_line(call: Call, times: int, paint: Paint) -> str:
    """What was called and what became of it, in one line; `times` when that happened several times in a row."""
    said = f"{times} times" if times > 1 else call.message if call.verdict == "allowed" else ""
    line = f"{call.verdict:8} {call.step.tool:16} {arguments(call.step.tool, call.step.arguments):24}  {visible(said)}"
    return paint(_VERDICTS[call.verdict], call.verdict) + cut(line, WIDTH)[len(call.verdict) :]


def rule_lines(rule: Rule | None, policy: str, paint: Paint) -> list[str]:
    """The rule that decided, in its own lines. One that is too long goes on below, and stays the YAML that it is."""
    if rule is None:
        return []
    parts = (part for line in rule.text.splitlines() for part in _wrapped_yaml(visible(line)))
    return [f"  {policy}, line {rule.line}:", *(_DETAIL + paint("cyan", part) for part in parts)]


def agent_lines(message: str, paint: Paint) -> list[str]:
    """The very words that the agent gets; a long line goes on below."""
    parts = (part for line in message.splitlines() for part in wrapped(visible(line)))
    return ["  the agent reads:", *(_DETAIL + paint("yellow", part) for part in parts)]


def wrapped(line: str) -> list[str]:
    """A line of words, in parts that fit behind the space before details."""
    return textwrap.wrap(line, WIDTH - len(_DETAIL), break_on_hyphens=False)


def _wrapped_yaml(line: str) -> Iterator[str]:
    """A line of YAML in parts that fit, parted after commas."""
    room = WIDTH - len(_DETAIL)
    further = " " * (len(line) - len(line.lstrip(" -")) + 2)
    while len(line) > room and (comma := line.rfind(", ", len(further), room)) > 0:
        yield line[: comma + 1]
        line = further + line[comma + 2 :]
    yield line


def arguments(tool: str, given: Mapping[str, str]) -> str:
    """What a person wants to know of a call's arguments."""
    match tool:
        case "place_order":
            usd = Decimal(given["sz"]) * Decimal(given["px"])
            return f"{given['side']} {given['sz']} {given['instId']} at {given['px']} ({usd.normalize():f} USD)"
        case "cancel_order":
            return f"order {given['ordId']}"
        case _:
            return " ".join(given.values())


def cut(text: str, width: int) -> str:
    """A text of at most `width` characters; what is left out shows as `..`."""
    text = text.rstrip()
    return text if len(text) <= width else text[: width - 2] + ".."


def request_lines(received: Iterable[Received]) -> list[str]:
    """How often the exchange was asked to do what; what it was only asked to tell is left out."""
    received = tuple(received)
    notes = {("POST", PLACE_ORDER): f"  orders of {worth(received):f} USD"}
    return [
        f"  {times:>2} x  {method:4} {path}{notes.get((method, path), '')}"
        for (method, path), times in requests(received).items()
        if method != "GET"
    ]


def change_lines(changes: Sequence[Change]) -> list[str]:
    """Metric lines with their values after the session, in a column."""
    width = max(len(str(change.line)) for change in changes)
    return [f"  {change.line!s:{width}}  {change.after:g}" for change in changes]


def next_lines(sidecar: str, python: str, policy: str, paint: Paint) -> list[str]:
    """What to try next: commands that work as they are, in the folder in which the demo runs."""
    return [
        *commands(
            paint, "Ask what the policy says to a call, and why:",
            f"{sidecar} explain -c {policy} \\", "  cancel_order --args '{\"instId\": \"BTC-USDT\"}'",
        ),
        *commands(
            paint, "Change a number in a copy of the policy, and play the same calls again:",
            f"sed 's/per_call: 1000/per_call: 1500/' {policy} >mine.yaml", f"{python} -m programs.demo -c mine.yaml",
        ),
        *commands(paint, "Write a first policy for a server of your own:", f"{sidecar} init my-policy.yaml"),
        *commands(
            paint, "Install the sidecar; docs/start.md says how to put it into your client:",
            ".tools/uv/bin/uv tool install .",
        ),
    ]  # fmt: skip


def commands(paint: Paint, purpose: str, *lines: str) -> list[str]:
    """Commands to paste, below what they are for."""
    return [f"  {purpose}", *(_DETAIL + paint("bold", line) for line in lines)]


def difference_lines(differences: Sequence[str], paint: Paint) -> list[str]:
    """What is not as it must be."""
    return [paint("red", "Not as it must be:"), *(f"  - {visible(difference)}" for difference in differences)]


def tail(text: str, lines: int = 20) -> list[str]:
    """The last lines of a text, indented."""
    return [f"  | {visible(line)}" for line in text.splitlines()[-lines:]]
