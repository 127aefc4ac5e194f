"""What a recording keeps of a decided call: what rules read of it, and of what the policy masks a keyed hash only.

Knows no file. What is left out never comes as far as a line.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sidecar.auth.caller import Caller
from sidecar.decision.arguments import Projection
from sidecar.enforce.masking import replaced
from sidecar.events import Decided, Ruling
from sidecar.policy import paths
from sidecar.policy.paths import EACH, Path, in_order, overlap
from sidecar.policy.terms import Reads, Terms, read_terms
from sidecar.rehearsal.recordings import recorded
from sidecar.rehearsal.recordings.recorded import By, Client, Recorded
from sidecar.text import folded

MAX_TOOLS: Final = 1_000
"""Tools of which it is known what to keep; a client may name any number."""


@dataclass(frozen=True, slots=True)
class _OfTool:
    """What is kept of the calls of one tool. `strays` are paths for whose look-alikes no call was refused."""

    arguments: Projection
    caller: Projection
    kept: tuple[str, ...]
    keys: bool
    strays: tuple[Path, ...]


class Keeper:
    """Makes what is recorded of calls that were judged under one policy; `candidate` is tried beside it.

    Of a candidate there are the facts of its bundle, empty for none. Hashes are keyed with `key`; `workload` is where
    we run. With `whole` all is kept that is not masked.
    """

    def __init__(
        self, terms: Terms, candidate: str, key: bytes, workload: Mapping[str, str], *, whole: bool
    ) -> None:  # fmt: skip
        self._terms = [terms, read_terms(json.loads(candidate))] if candidate else [terms]
        # Both: what people may not see under one of them must not be in a file for the other.
        self._masks: tuple[Path, ...] = tuple(in_order({path for one in self._terms for path in one.approvals.mask}))
        self._hmac = hmac.new(hmac.digest(key, b"recording", "sha256"), digestmod=hashlib.sha256)
        self._workload = dict(workload)
        self._whole = whole
        self._by_tool: dict[str, _OfTool] = {}

    def recorded(self, event: Decided, moment: float) -> Recorded:
        """A call that was decided at a time in Unix seconds."""
        call, caller, ruling = event.call, event.caller, event.ruling
        tool = self._of_tool(call.tool)
        masked: set[str] = set()

        def hashed(path: Path, value: Any) -> msgspec.Raw:
            masked.add(paths.shown("args", path))
            return self._hash(path, value)

        arguments = replaced(call.arguments, self._masks, hashed)
        about = {**caller.document, "workload": self._workload}
        if not self._whole:
            arguments = _with_strays(tool.arguments.of(arguments), arguments, tool.strays)
            about = tool.caller.of(about)
        return Recorded(
            time=recorded.time_of(moment), decision_id=event.decision_id, server=event.server, tool=call.tool,
            arguments=arguments, kept="all" if self._whole else tool.kept, masked=tuple(sorted(masked)),
            keys=tuple(sorted(call.arguments)) if tool.keys and not self._whole else None,
            principal=_by(caller, about), session=caller.session, client=_client(caller),
            workload=about.get("workload", {}), decision=_decision(ruling), kind=ruling.kind, rule=ruling.rule,
            approval=event.approval, mode=ruling.mode, revision=ruling.revision, serial=ruling.serial,
        )  # fmt: skip

    def _of_tool(self, name: str) -> _OfTool:
        found = self._by_tool.get(name)
        if found is None:
            if len(self._by_tool) >= MAX_TOOLS:
                self._by_tool.clear()
            found = self._by_tool[name] = self._made([terms.reads_of(name) for terms in self._terms])
        return found

    def _made(self, reads: Sequence[Reads]) -> _OfTool:
        first, *others = reads
        ways = in_order({path for one in reads for path in one.all_paths})
        about = in_order({path for one in reads for path in one.caller})
        # A hash above what is kept is kept too: that the values are equal can still be seen.
        above = [mask for mask in self._masks if any(len(mask) <= len(way) and overlap(mask, way) for way in ways)]
        return _OfTool(
            Projection(ways, guarded=False, beside=above), Projection(about, guarded=False),
            (*(paths.shown("args", way) for way in ways), *(paths.shown(str(way[0]), way[1:]) for way in about)),
            any(one.names for one in reads),
            tuple(in_order({*first.shadow_paths, *(path for one in others for path in one.all_paths)})),
        )  # fmt: skip

    def _hash(self, path: Path, value: Any) -> msgspec.Raw:
        """A keyed hash of a value at a path, as a JSON text: the same one for the same value there only."""
        hashed = self._hmac.copy()
        hashed.update(_canonical([path, value]))
        return msgspec.Raw(b'"hmac-sha256:%b"' % hashed.hexdigest().encode())


def _with_strays(kept: dict[str, Any], whole: Mapping[str, Any], ways: Sequence[Path]) -> dict[str, Any]:
    """What is kept, and `true` for each key beside it that differs from a step of some paths only in case.

    A call with such a key is refused where that path is read, so without it the recording would be about another call.
    """
    below: dict[str, list[Path]] = {}
    for first, *rest in ways:
        if first is not EACH:
            below.setdefault(first, []).append(tuple(rest))
    if not below:
        return kept
    alike = set(map(folded, below))
    # What is a step itself and was not kept is null where the path leads on: that is as if it were not there.
    found = {key: True for key in whole if key not in kept and key not in below and folded(key) in alike}
    deeper = {step: _strays(kept[step], whole[step], rest) for step, rest in below.items() if step in kept}
    return {**kept, **deeper, **found}


def _strays(kept: Any, whole: Any, ways: Sequence[Path]) -> Any:
    if type(kept) is dict and type(whole) is dict:
        return _with_strays(kept, whole, [way for way in ways if way])
    if type(kept) is list and type(whole) is list:
        inner = [way[1:] for way in ways if way and way[0] is EACH]
        return [_strays(one, other, inner) for one, other in zip(kept, whole, strict=True)]
    return kept


def _by(caller: Caller, about: Mapping[str, Any]) -> By | None:
    principal = caller.principal
    if principal is None:
        return None
    return By(principal.subject, principal.issuer, about.get("principal", {}).get("claims", {}))


def _client(caller: Caller) -> Client | None:
    return Client(caller.said.name, caller.said.version) if caller.said is not None else None


def _decision(ruling: Ruling) -> recorded.Decided:
    if ruling.allowed:
        return "allow"
    return "approval" if ruling.kind == "approval_required" else "deny"


_canonical = msgspec.json.Encoder(order="sorted").encode
