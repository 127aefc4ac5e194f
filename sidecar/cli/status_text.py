"""`sidecar status` for people: lines that fit, in which nothing of an agent can begin one. Values in, text out."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator
from typing import Final

from sidecar.cli.approvals_table import cut, safe, sentence, table
from sidecar.cli.status_values import Counted, Limit, Looked, Status

_LONG: Final = 16
"""Digits of more seconds than anybody counts in."""


def lines(status: Status, now: float, width: int) -> list[str]:
    """All of it, no line wider than `width` columns."""
    return [cut(line, width) for line in _lines(status, now, width)]


def _lines(status: Status, now: float, width: int) -> Iterator[str]:
    several = len({one.instance.server for one in status.running}) > 1

    def whose(server: str) -> tuple[str, ...]:
        """The server, where it has to be told from others."""
        return (server,) if several else ()

    yield from _sidecars(status, now, width)
    if status.top:
        yield from ("", "MOST DENIED")
        yield from table(
            [
                _cells(str(count), *whose(server), tool, _by(rule, kind), line)
                for server, (tool, rule, kind), line, count in status.top
            ],
            width,
        )
    if status.recent:
        yield from ("", "DENIED LAST (UTC)")
        yield from table(
            [
                _cells(
                    _clock(one.time, now),
                    *whose(one.server),
                    one.tool,
                    _by(one.rule, one.kind),
                    one.decision_id,
                    one.reason,
                )
                for one in status.recent
            ],
            width,
        )
    if status.limits:
        yield from ("", "LIMITS")
        yield from table([_cells(*whose(one.server), *_limit(one, now)) for one in status.limits], width)
    waiting = status.waiting
    yield ""
    if waiting.trouble:
        yield from sentence(f"APPROVALS cannot be counted: {safe(waiting.trouble)}", width)
    else:
        yield f"APPROVALS  {waiting.pending} pending, {waiting.unknown} unknown"
    if waiting.pending or waiting.unknown:
        yield "  `sidecar approvals list` shows them"


def _sidecars(status: Status, now: float, width: int) -> Iterator[str]:
    folder = safe(status.folder)
    if not status.running:
        yield from sentence(f"No sidecar runs with the state folder {folder}.", width)
        past = status.past
        if past.allow or past.deny:
            allowed, denied = _count(past, past.allow), _count(past, past.deny - past.held)
            calls = "call was" if past.allow == 1 else "calls were"
            held = f" {_count(past, past.held)} held for an approval," if past.held else ""
            yield f"In the last day {allowed} {calls} allowed,{held} and {denied} denied."
        return
    count = len(status.running)
    yield from sentence(f"{count} sidecar{'s' if count > 1 else ''} with the state folder {folder}", width)
    yield ""
    head = ("SERVER", "PID", "UP FOR", "MODE", "ALLOWED", "DENIED", "HELD", "STATE")
    yield from table([head, *(_sidecar(one, now) for one in status.running)], width)
    for one in status.running:
        for said in one.words:
            yield from sentence(f"  {safe(one.instance.server)}: {safe(said)}", width)


def _sidecar(one: Looked, now: float) -> tuple[str, ...]:
    instance, counted = one.instance, one.counted
    unasked = "no answer" if instance.telemetry else "no telemetry"
    ill = [name.replace("_", " ") for name, well in one.components.items() if not well]
    state = ", ".join(
        [{True: "ready", False: "not ready", None: unasked}[one.ready], *(f"{name} fails" for name in ill)]
    )
    up_for = _up_for(instance.started, now)
    return _cells(
        instance.server, str(instance.pid), up_for, instance.mode, _count(counted, counted.allow),
        _count(counted, counted.deny - counted.held), _count(counted, counted.held), state,
    )  # fmt: skip


def _by(rule: str, kind: str) -> str:
    """Which rule denied, or as what kind where none did."""
    return rule or (f"({kind})" if kind else "")


def _limit(one: Limit, now: float) -> tuple[str, ...]:
    left = f"{_number(one.left)} left" if one.most is None else f"{_number(one.left)} of {_number(one.most)} left"
    window = _span(float(one.window)) if one.window.isdecimal() and len(one.window) < _LONG else one.window
    per = " in ".join(text for text in (one.scope, window) if text)
    wait = 0 if one.resets is None or one.left == one.most else one.resets - now
    again = f"whole again in {_span(wait)}" if wait > 0 else ""
    # The window last: it is what is cut off where the line is too long.
    return one.tool, one.rule, left, again, per


def _cells(*texts: str) -> tuple[str, ...]:
    return tuple(cut(safe(text), 28) if at < len(texts) - 1 else safe(text) for at, text in enumerate(texts))


def _count(counted: Counted, number: int) -> str:
    """A number of calls: at least so many where it ends in +, and ? where nobody counted."""
    return f"{number}{'' if counted.whole else '+'}" if counted.source else "?"


def _number(value: float) -> str:
    return f"{value:.10g}"


def _up_for(started: str, now: float) -> str:
    try:
        begun = time.strptime(started, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return "?"
    return _span(max(0.0, now - _seconds(begun)))


def _clock(text: str, now: float) -> str:
    """The time of today, else the day."""
    today = time.strftime("%Y-%m-%d", time.gmtime(now))
    return text[11:19] if text.startswith(today) else text[:10]


def _seconds(at: time.struct_time) -> float:
    return float(calendar.timegm(at))


def _span(seconds: float) -> str:
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {word}"
    return f"{int(seconds)} s"
