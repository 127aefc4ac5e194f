"""What people are asked for, where two policies ask them about the same calls and not for the same.

Rules are known again by their names, calls by themselves: so it also shows where another rule asks, or written Rego.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from sidecar.rehearsal.diff.differences import Difference
from sidecar.rehearsal.diff.settings_changed import SettingChanged
from sidecar.rehearsal.judging import Request

_OF_RULES = {"approvers": "approvers", "timeout": "approval_timeout", "grant": "grant"}
"""What the changes of a rule are called."""


def requests_changed(calls: Iterable[Difference], told: Collection[SettingChanged]) -> Iterator[SettingChanged]:
    """The changes that such calls show, without those that are `told` of the rule that asks, or of all approvals."""
    known = {one.what for one in told} | {(one.what, one.line) for one in told}
    found: dict[SettingChanged, None] = {}
    for one in calls:
        old, new = one.old.request, one.new.request
        assert old is not None
        assert new is not None
        line = f"{one.new.file}:{one.new.line}" if one.new.file else ""
        for name, before, after, is_looser in _changed(old, new):
            if (f"rule {one.new.rule}: {_OF_RULES[name]}", line) in known or f"approvals.{name}" in known:
                continue
            what = f"calls of {one.tool} for which a person is asked: {_OF_RULES[name]}"
            found[SettingChanged(what, before, after, is_looser, line)] = None
    yield from found


def _changed(old: Request, new: Request) -> Iterator[tuple[str, str, str, bool]]:
    if old.approvers != new.approvers:
        yield "approvers", str(old.approvers), str(new.approvers), new.approvers < old.approvers
    if old.timeout != new.timeout:
        yield "timeout", f"{old.timeout} s", f"{new.timeout} s", new.timeout > old.timeout
    if old.grant != new.grant:
        yield "grant", _grant(old), _grant(new), _grants_more(old, new)


def _grants_more(old: Request, new: Request) -> bool:
    if old.grant is None or new.grant is None:
        return new.grant is not None
    seconds, calls, same, at_most = old.grant
    more_seconds, more_calls, others, at_most_now = new.grant
    wider = bool({*same} - {*others}) or bool({*at_most} - {*at_most_now, *others})
    return more_seconds > seconds or more_calls > calls or wider


def _grant(request: Request) -> str:
    if request.grant is None:
        return "none"
    seconds, calls, same, at_most = request.grant
    limit = f", no greater {', '.join(at_most)}" if at_most else ""
    return f"{calls} calls within {seconds} s, with the same {', '.join(same) or 'nothing'}{limit}"
