"""What the page says in plain words: of states, of risk classes, of what was decided, and of spans of time."""

from __future__ import annotations

from typing import Final

from sidecar.ledger.approvals import Record, State

STATE_WORDS: Final[dict[State, str]] = {
    "pending": "Waiting",
    "approved": "Approved",
    "denied": "Denied",
    "expired": "Expired",
    "in_use": "Running",
    "consumed": "Done",
    "unknown": "Outcome unknown",
}

UNDO_WORDS: Final[dict[str, str]] = {
    "Financial": "Moves money, or commits to do so. It cannot be undone.",
    "Destructive": "Removes what cannot be restored. It cannot be undone.",
    "Execute": "Runs code or commands. What they do cannot be undone from here.",
    "Write": "Changes something that can be changed back.",
    "Read": "Reads. It changes nothing, and what it shows the agent stays known to it.",
}
NO_CLASS: Final = "The policy gives this tool no risk class. Assume that it cannot be undone."

KIND_WORDS: Final[dict[str, str]] = {
    "allow": "went through",
    "approval_required": "asked for approval",
    "approval_denied": "refused by a person",
    "approval_in_use": "refused: the same call was running",
    "approvals_full": "refused: too many calls waited",
    "outcome_unknown": "refused: its outcome is unknown",
    "rule": "refused by a rule",
    "custom": "refused by a rule",
    "custom_invalid": "refused: a hand-written rule is broken",
    "hidden": "refused: the tool is hidden",
    "default_deny": "refused: not in the policy",
    "rate_limit": "refused: a limit was reached",
    "spend_limit": "refused: a limit was reached",
    "invalid_amount": "refused: an amount that cannot be counted",
    "engine_unavailable": "refused: the policy engine did not answer",
    "store_unavailable": "refused: the store did not answer",
}

VERDICT_WORDS: Final[dict[str, str]] = {
    "approve": "approved it",
    "deny": "denied it",
    "committed": "said that it happened",
    "failed": "said that it did not happen",
    "revoke": "took it back",
}
VIA_WORDS: Final[dict[str, str]] = {"cli": "command line", "api": "API", "page": "this page"}


def undo(risk_class: str) -> str:
    """What a call of a class does, and whether that can be undone."""
    return UNDO_WORDS.get(risk_class, NO_CLASS)


def kind(word: str) -> str:
    """What was decided about a call."""
    return KIND_WORDS.get(word, f"refused: {word.replace('_', ' ')}")


def people(names: list[str]) -> str:
    """Names in a sentence."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def span(seconds: float) -> str:
    """A span of time, in the two greatest units of which it has any: `1 h 5 min`."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def size(characters: int) -> str:
    """How long a text is: `1.2 million characters`."""
    if characters >= 1_000_000:
        return f"{characters / 1e6:.1f} million characters"
    return f"{characters:,} characters"


def was_agreed_to(record: Record) -> bool:
    """True where as many people agreed as the rule wants."""
    return len(agreed(record)) >= record.asked.approvers


def agreed(record: Record) -> list[str]:
    """Who approved it so far."""
    return [one.by for one in record.answers if one.verdict == "approve"]
