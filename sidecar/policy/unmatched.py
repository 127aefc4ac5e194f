"""Patterns that match none of a list of names: by the policy's own matching, in bounded time. Values in, values out."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

MOST_READ: Final = 2_500_000
"""Characters of names that are read for all patterns together: about as many as take a fiftieth of a second."""
_EACH: Final = 50
"""A name that is tried costs as much as so many characters more."""
_AT_ONCE: Final = 500
"""Names that are tried before it is asked again how much was read."""
_WILD: Final = re.compile(r"[*?]")


@dataclass(frozen=True, slots=True)
class Unmatched:
    """The patterns that match no name, sorted. Where not `all_tried`, there may be more of them."""

    patterns: tuple[str, ...] = ()
    all_tried: bool = True


def unmatched(patterns: Mapping[str, re.Pattern[str]], names: Collection[str], most: int = MOST_READ) -> Unmatched:
    """The patterns, by what they match, that match none of the names.

    A pattern is tried on the names that begin as it does. So one that begins with a wildcard is tried on all of them,
    and not at all once more than `most` characters were read: who lists the tools chooses how many there are.
    """
    found: list[str] = []
    in_order, left, all_tried = sorted(names), most, True
    for pattern in sorted(patterns):
        begin = _WILD.split(pattern, maxsplit=1)[0]
        start = bisect_left(in_order, begin)
        end = bisect_right(in_order, begin, lo=start, key=lambda name: name[: len(begin)])
        if pattern == f"{begin}*" and end > start:
            continue
        for at in range(start, end, _AT_ONCE):
            some = in_order[at : min(at + _AT_ONCE, end)]
            left -= _EACH * len(some) + sum(map(len, some))
            if left < 0 or any(map(patterns[pattern].match, some)):
                break
        else:
            found.append(pattern)
        all_tried = all_tried and left >= 0
    return Unmatched(tuple(found), all_tried)
