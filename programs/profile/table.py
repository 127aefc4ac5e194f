"""A profile as text: the functions that take most, aligned, and what the profiler does to the figures. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from programs.profile.run import Function, Profile

NOTE: Final = """\
`own` are microseconds of processor time of one call within the function itself; `calls` is how often one call calls it.
The profiler takes its time for each call of a function, so small functions that are called often look worse than they
are; what uvloop does stands in the function that calls it (a write), or in no line (its loop). Compare calls and shares
here; for times: make bench.\
"""


def table(profile: Profile, top: int) -> str:
    """The heading and the `top` functions with most time of their own, then the rest in one line."""
    head = (
        f"{profile.contender.name}: {profile.calls:,} calls, {profile.plain:.0f} µs of processor time each, and "
        f"{profile.profiled:.0f} µs under the profiler, which inflates it {profile.profiled / profile.plain:.1f} times."
    )
    shown, rest = profile.functions[:top], profile.functions[top:]
    lines = [_line(function) for function in (*shown, *_together(rest, f"({len(rest)} more)"))]
    every = _together(profile.functions, "(all)")
    return "\n".join([head, "  own µs   calls  function", *lines, *map(_line, every)])


def _together(functions: Sequence[Function], name: str) -> list[Function]:
    if not functions:
        return []
    return [Function(name, sum(each.own for each in functions), sum(each.calls for each in functions))]


def _line(function: Function) -> str:
    return f"{function.own:8.2f}  {function.calls:6.2f}  {function.name}"
