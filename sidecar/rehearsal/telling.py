"""What is told of a step that is not as expected: what was expected, what became of the call, and by which rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.rehearsal.judging import Judgement
from sidecar.rehearsal.testing import StepResult, bare, became
from sidecar.text import quoted, shown, visible

_WORDS: Final = {"refused": "refused (deny or approval)", "error": "error (a JSON-RPC error)"}


def told(result: StepResult, number: int, places: Mapping[str, str]) -> list[str]:
    """Lines about a step that is wrong. `places` are the paths of policy files by their names in a bundle."""
    step = result.step
    lines = [
        f"{visible(step.place.file)}:{step.place.line}: step {number}: {shown(step.tool)}",
        f"  expected  {_expected(result)}",
        f"  got       {_got(result)}",
    ]
    if by := _by(result.judgement, places):
        lines.append(f"  by        {by}")
    return lines


def _expected(result: StepResult) -> str:
    step = result.step
    parts = [_WORDS.get(step.expect, step.expect)]
    if step.message is not None:
        parts.append(_message(step.message, step.message))
    if step.rule is not None:
        parts.append(f"by the rule {quoted(step.rule)}")
    if step.code is not None:
        parts.append(f"code {step.code}")
    return ", ".join(parts)


def _got(result: StepResult) -> str:
    judgement = result.judgement
    parts = [became(judgement)]
    if judgement.forwarded and judgement.action != "allow":
        parts[0] = "allow, for the policy only monitors: it would be " + judgement.action
    elif judgement.kind not in ("allow", "rule", "approval_required"):
        parts[0] += f" ({judgement.kind})"
    if judgement.told:
        parts.append(_message(judgement.told, result.step.message or ""))
    if result.step.code is not None:
        parts.append(f"code {judgement.code}" if judgement.code else "no error")
    return ", ".join(parts)


def _message(text: str, expected: str) -> str:
    """The beginning of a message in quotes: as many lines as are expected, and what stands before where that is too."""
    lines = (text if bare(expected) != expected else bare(text)).rstrip().split("\n")
    many = len(expected.rstrip().split("\n"))
    begin = "\n".join(lines[:many])
    return f'"{visible(begin)}"' + " …" * any(lines[many:])


def _by(judgement: Judgement, places: Mapping[str, str]) -> str:
    """The rule that decided, or those that only report; empty where no rule had anything to say."""
    if judgement.action == "allow":
        reporting = list(dict.fromkeys(shown(item.rule) for item in judgement.violations))
        return f"no rule; these only report: {', '.join(reporting)}" if reporting else ""
    if not judgement.rule:
        return ""
    if not judgement.file:
        return f"the rule {shown(judgement.rule)}"
    file = visible(places.get(judgement.file, judgement.file))
    return f"the rule {shown(judgement.rule)} at {file}:{judgement.line}"
