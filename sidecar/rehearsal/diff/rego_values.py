"""What to put where hand-written Rego looks: the texts and the numbers that stand in it.

Its conditions are not read. A value that it compares with mostly stands in its text, so calls have each of these once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from sidecar.policy.bundle import FACTS
from sidecar.policy.model import Value
from sidecar.policy.paths import Path
from sidecar.policy.rego import code
from sidecar.rehearsal.diff.boundaries import beside
from sidecar.rehearsal.diff.places import Place
from sidecar.repository.subject import Subject

MOST: Final = 12
"""Texts, and numbers, of which calls are made."""
_TEXT: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_SAID: Final = re.compile(r'"(?:rule|reason|timeout|approvers|monitor)"\s*:(?:\s*"(?:[^"\\\n]|\\.)*")?')
"""What it says to people, and the names for that."""
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])")


def written_in_rego(*subjects: Subject) -> dict[Place, list[Value]]:
    """For each place that hand-written Rego of any of the policies reads, the values that stand in it."""
    values = list(_values(text for one in subjects for text in one.custom.files.values()))
    return {place: values for one in subjects for place in _read(one)} if values else {}


def _read(subject: Subject) -> Iterator[Place]:
    reads: Mapping[str, list[list[str | None]]] = json.loads(subject.bundle.files[FACTS]).get("custom", {}).get("reads")
    if not reads:
        return
    yield from (Place("args", tuple(path)) for path in reads["paths"] if path)
    for root, *path in reads["caller"]:
        if path and root in ("principal", "session", "workload"):
            yield Place(root, _path(path))  # type: ignore[arg-type]  # it is one of these


def _path(steps: Iterable[str | None]) -> Path:
    return tuple(steps)


def _values(texts: Iterable[str]) -> Iterator[Value]:
    every = list(texts)
    said = dict.fromkeys(found for text in every for found in _TEXT.findall(_SAID.sub("", text)))
    for text in list(said)[:MOST]:
        try:
            value = str(json.loads(text))
        except ValueError:
            continue
        yield value
        yield (value,)
    numbers = dict.fromkeys(found for text in every for found in _NUMBER.findall(code(text)))
    for number in list(numbers)[:MOST]:
        yield from beside(Decimal(number))[:3]
