"""The results of tests as JUnit XML, which CI systems show beside a change. Knows no policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from sidecar.text import visible

_PLACES: Final = ".3f"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test. `failure` are the lines that say why it failed, none where it passed."""

    name: str
    file: str
    line: int
    seconds: float
    failure: Sequence[str] = ()
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests that belong together, as those of one file."""

    name: str
    outcomes: Sequence[Outcome]


def junit(suites: Sequence[Suite]) -> bytes:
    """The document, in UTF-8. Characters that XML cannot carry are written as JSON escapes."""
    root = ElementTree.Element("testsuites", _totals([one for suite in suites for one in suite.outcomes]))
    for suite in suites:
        element = ElementTree.SubElement(
            root, "testsuite", {"name": visible(suite.name), **_totals(suite.outcomes), **_skips(suite.outcomes)}
        )
        for outcome in suite.outcomes:
            _add(element, suite, outcome)
    ElementTree.indent(root)
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def _add(suite_element: ElementTree.Element, suite: Suite, outcome: Outcome) -> None:
    about = {"name": visible(outcome.name), "classname": visible(suite.name), "time": format(outcome.seconds, _PLACES)}
    place = {"file": visible(outcome.file), "line": str(outcome.line)}
    element = ElementTree.SubElement(suite_element, "testcase", {**about, **place})
    if outcome.failure:
        lines = list(map(visible, outcome.failure))
        failure = ElementTree.SubElement(element, "failure", {"message": lines[0], "type": "failure"})
        failure.text = "\n".join(lines)
    elif outcome.skipped:
        ElementTree.SubElement(element, "skipped")


def _totals(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {
        "tests": str(len(outcomes)),
        "failures": str(sum(bool(outcome.failure) for outcome in outcomes)),
        "errors": "0",
        "time": format(sum(outcome.seconds for outcome in outcomes), _PLACES),
    }


def _skips(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {"skipped": str(sum(outcome.skipped for outcome in outcomes))}
