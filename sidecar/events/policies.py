"""Policies: how they come into force or do not, a candidate beside the one in force, recordings of calls."""

from __future__ import annotations

from typing import Final

import msgspec

BUNDLE_REFUSALS: Final = (
    "unsigned", "signature", "older", "conflict", "format", "foreign", "broken", "too_large", "trial", "check",
    "unavailable",
)  # fmt: skip
"""Why a bundle is not put in force.

It has no signature, or none by a key that counts; its serial is below the highest that was admitted, or the same with
other content; its format is another; it holds what is not the policy's to say; it cannot be read; it is too large; the
canaries are answered wrongly on it; this sidecar cannot serve under it; or the engine, the store or the disk, which it
needs for that, cannot be used now.
"""


CANDIDATE_GAPS: Final = ("skipped", "failed", "no_policy")
"""Why there is nothing to compare of a call: too many waited for the candidate; it gave no usable answer; or no policy
decided the live call, because something failed."""


class Reloaded(msgspec.Struct, frozen=True, gc=False):
    """The policy files changed: `accepted` or not; `text` says why not, or what it warns of."""

    server: str
    accepted: bool
    text: str


class Unchanged(msgspec.Struct, frozen=True, gc=False):
    """The policy files say again what is in force, after a change that was refused."""

    server: str


class BundleFetched(msgspec.Struct, frozen=True, gc=False):
    """A look at the source of bundles: `news` where it had another one. `trouble` says why it could not be had."""

    server: str
    news: bool
    trouble: str = ""


class BundleJudged(msgspec.Struct, frozen=True, gc=False):
    """A fetched bundle was put in force, or refused: then `refused` is one of `BUNDLE_REFUSALS`, and `text` says why.

    `serial` and `commit` are what it says of itself, 0 and empty where that could not be read.
    """

    server: str
    serial: int
    commit: str
    refused: str = ""
    text: str = ""


class CandidateBegan(msgspec.Struct, frozen=True, gc=False):
    """A candidate policy is asked about the same calls from now on, by this revision; it decides nothing.

    `facts` are those of its bundle, from which its terms can be read; empty where they are very long.
    """

    server: str
    revision: str
    facts: str = ""


class CandidateFailed(msgspec.Struct, frozen=True, gc=False):
    """The candidate cannot be asked, or a changed one is not used; `text` says why. Live calls do not notice."""

    server: str
    text: str


class CandidateCompared(msgspec.Struct, frozen=True, gc=False):
    """What the policy in force and the candidate said of `count` calls: allow, deny, or approval (a person is asked).

    `live_rule` and `rule` are the rules that decided, with their places as `file:line`, empty where no rule did. The
    first of the calls is `decision_id`, of `tool`.
    """

    server: str
    tool: str
    live: str
    candidate: str
    live_rule: str
    live_place: str
    rule: str
    place: str
    decision_id: str
    count: int


class CandidateNotAsked(msgspec.Struct, frozen=True, gc=False):
    """Calls that the candidate did not judge; `reason` is one of `CANDIDATE_GAPS`."""

    server: str
    reason: str
    count: int


class RecordingFailed(msgspec.Struct, frozen=True, gc=False):
    """`lost` decided calls could not be recorded; `text` says why, empty once calls are recorded again."""

    server: str
    lost: int
    text: str
