"""Lines of a recording: what is written is read again as it was, and what is no such line is said."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.policy.terms import Reads
from sidecar.rehearsal.recordings.recorded import BEGIN, By, Client, Recorded, read_line, time_of, without, written

CALL = Recorded(
    time="2026-11-30T08:00:00.123456Z", tool="pay", arguments={"amount": msgspec.Raw(b"1.10")}, decision="deny",
    decision_id="a-1", server="bank", kept=("args.amount", "principal.claims.team"), keys=("amount", "note"),
    principal=By("ann", "https://idp", {"team": "x"}), session="s1", client=Client("agent", "1"), kind="rule",
    rule="small", revision="r", serial=3,
)  # fmt: skip


def test_a_line_is_read_as_it_was_written() -> None:
    assert read_line(written(CALL)) == CALL
    assert written(CALL).startswith(BEGIN)
    assert b'"amount":1.10' in written(CALL)


def test_a_line_by_hand_needs_only_what_no_call_can_be_asked_about_without() -> None:
    read = read_line(b'{"time":"2026-11-30T08:00:00Z","tool":"t","arguments":{"a":1e2},"decision":"allow"}')
    assert (read.kept, read.decision, read.moment) == ("all", "allow", 1796025600.0)
    assert bytes(read.arguments["a"]) == b"1e2"


@pytest.mark.parametrize(
    "time", ["1796025600", "1796025600.0", '"2026-11-30T08:00:00Z"', '"2026-11-30T09:00:00+01:00"']
)
def test_a_time_by_hand_may_be_unix_seconds(time: str) -> None:
    assert read_line(f'{{"time":{time},"tool":"t","arguments":{{}},"decision":"allow"}}'.encode()).moment == 1796025600


def test_a_person_who_was_asked_may_be_written_as_the_engine_says_it() -> None:
    line = b'{"time":"2026-11-30T08:00:00Z","tool":"t","arguments":{},"decision":"require_approval"}'
    assert read_line(line).decision == "approval"


def test_a_time_is_kept_to_the_microsecond() -> None:
    assert msgspec.structs.replace(CALL, time=time_of(1796025600.000001)).moment == 1796025600.000001


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"tool":"t"}',
        b'{"time":"now","tool":"t","arguments":{},"decision":"allow"}',
        b'{"time":1e300,"tool":"t","arguments":{},"decision":"allow"}',
        b'{"time":null,"tool":"t","arguments":{},"decision":"allow"}',
        b'{"time":"2026-11-30T08:00:00Z","tool":"t","arguments":[],"decision":"allow"}',
        b'{"time":"2026-11-30T08:00:00Z","tool":"t","arguments":{},"decision":"perhaps"}',
        b'{"time":"2026-11-30T08:00:00Z","tool":"t","arguments":{},"arguments":{},"decision":"allow"}',
        b'{"time":"2026-11-30T08:00:00Z","tool":"t","arguments":{},"decision":"allow","kept":["amount"]}',
        b'{"time":"2026-11-30T08:00:00Z","tool":"t","arguments":{},"decision":"allow","version":2}',
        written(CALL)[:-10],
    ],
)
def test_what_is_no_line_of_a_recording_is_said(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"recording|recorded"):
        read_line(line)


def test_a_path_that_was_not_kept_is_named() -> None:
    reads = Reads(paths=(("amount",), ("amount", "deep"), ("note",)), caller=(("principal", "claims", "role"),))
    assert without(CALL, reads) == ("args.note", "principal.claims.role")


def test_who_called_is_always_kept() -> None:
    caller = (("principal", "subject"), ("session", "client", "name"), ("principal", "claims", "team", "lead"))
    assert without(CALL, Reads(caller=caller)) == ()


def test_what_is_only_a_hash_is_missing_in_every_spelling_above_and_below() -> None:
    masked = msgspec.structs.replace(CALL, kept="all", masked=("args.card.Number",))
    paths = (("card",), ("card", "number"), ("card", "number", "x"), ("card", "owner"))
    assert without(masked, Reads(paths=paths)) == ("args.card", "args.card.number", "args.card.number.x")


def test_names_of_arguments_are_missing_where_no_rule_asked_for_them() -> None:
    reads = Reads(only=frozenset({"amount"}))
    assert without(msgspec.structs.replace(CALL, keys=None), reads) == ("the names of the arguments",)
    assert without(CALL, reads) == ()


def test_hand_written_rules_that_may_read_anything_lack_whatever_was_not_kept() -> None:
    whole = msgspec.structs.replace(CALL, kept="all")
    assert without(CALL, Reads(whole=True)) == ("everything",)
    assert without(msgspec.structs.replace(whole, masked=("args.pin",)), Reads(whole=True)) == ("everything",)
    assert without(whole, Reads(whole=True, keys=True)) == ()
    assert without(msgspec.structs.replace(CALL, keys=None), Reads(keys=True)) == ("the names of the arguments",)


def test_arguments_that_are_known_by_name_only_are_asked_about_too() -> None:
    assert CALL.sent == {"amount": CALL.arguments["amount"], "note": True}
