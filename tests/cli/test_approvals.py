"""`sidecar approvals` as people use it, on real stores: what they see, what they decide, and what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import pwd
import secrets
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import pytest

from sidecar import cli
from sidecar.approvals.document import digest_of
from sidecar.approvals.words import like_this
from sidecar.cli.approvals_table import columns
from sidecar.cli.approvals_text import ONLY_THERE
from sidecar.enforce.grant_terms import end_of, same_text
from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import LOST_AFTER, GrantTerms
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.sqlite_approvals import SqliteApprovals
from sidecar.ledger.values import Counter
from sidecar.mcp.approval_binding import plain
from tests.cli.asking import GRANT, ORDERS, ask_in, asked, found, lost, pending, recent, store, used, using
from tests.cli.test_approvals_table import HOSTILE
from tests.cli.test_policy_commands import Done, sidecar
from tests.support.redis_server import RedisServer

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder in which a sidecar has run."""
    folder = tmp_path / "state"
    using(folder, _nothing)
    return folder


async def _nothing(_: object) -> None:
    return


def approvals(state: Path, *words: str, **env: str) -> Done:
    """What a command prints, and how it ends; in this process, which takes a hundredth of the time."""
    out, errors = io.StringIO(), io.StringIO()
    argv = ["sidecar", "approvals", *words, "--state-dir", str(state)]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | env
    with (
        patch.dict(os.environ, environment, clear=True), patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors),
    ):  # fmt: skip
        status = cli._main()
    return Done(status, out.getvalue(), errors.getvalue().splitlines())


def done(state: Path, *words: str, **env: str) -> list[str]:
    """The lines of a command that must work."""
    said = approvals(state, *words, **env)
    assert (said.status, said.errors) == (0, []), said
    return said.out.splitlines()


def document(state: Path, *words: str) -> Any:
    [line] = done(state, *words, "--json")
    return json.loads(line)


def refused(state: Path, *words: str, status: int = 1) -> str:
    """What is said of a command that must not work."""
    said = approvals(state, *words)
    assert (said.status, said.out, len(said.errors)) == (status, "", 1), said
    return said.errors[0].removeprefix("sidecar: ")


def audit(state: Path) -> list[dict[str, Any]]:
    path = state / "events" / "approvals.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# The store.


def test_no_store_is_made_by_looking_for_one(tmp_path: Path) -> None:
    for words in (["list"], ["show", "apr_" + "0" * 20], ["approve", "apr_" + "0" * 20]):
        text = refused(tmp_path / "none", *words)
        assert text.startswith(f"no approvals in {tmp_path}/none: name the folder that `sidecar run` was given")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_may_stand_in_the_environment_or_be_the_default_one(state: Path) -> None:
    [id_] = pending(state, asked())
    for env in ({"SIDECAR_STATE_DIR": str(state)}, {"XDG_STATE_HOME": str(state.parent)}):
        if "XDG_STATE_HOME" in env:
            (state.parent / "intercept-sidecar").symlink_to(state)
        said = sidecar(state.parent, "approvals", "list", "--json", **env)
        assert [one["id"] for one in json.loads(said.out)] == [id_]


def test_a_file_that_is_no_store_is_said(state: Path) -> None:
    store(state).write_bytes(b"no database" * 100)
    assert refused(state, "list").startswith(f"cannot use {state}/counters.db as the store of counters")


def test_a_folder_in_which_others_may_write_is_refused(state: Path) -> None:
    state.chmod(0o777)
    text = refused(state, "list")
    assert "everybody may write" in text
    assert text.endswith("The user of the sidecar can answer there")


def test_a_prefix_is_of_keys(state: Path) -> None:
    assert "--state-prefix is for the keys in --state-dsn" in refused(state, "list", "--state-prefix", "x:", status=2)


# The list.


def test_an_empty_list_says_what_will_stand_there(state: Path) -> None:
    assert done(state, "list") == ["No approval: what waits for a person is listed here."]
    assert done(state, "list", "--grants") == ["No standing approval."]
    assert document(state, "list") == document(state, "list", "--grants") == []


def test_what_waits_is_a_table_with_the_newest_first(state: Path) -> None:
    first, second = pending(state, asked(), asked({"sz": 5}, tool="place_order", asker="alice", severity=""))
    headings, *rows, _, below = done(state, "list")
    assert below == ONLY_THERE
    assert headings.split() == [
        "ID", "STATE", "LEFT", "TOOL", "ARGUMENTS", "ASKED", "BY", "SERVER", "SEVERITY",
    ]  # fmt: skip
    assert [row.replace("29 min", "30 min").split() for row in rows] == [
        [second, "pending", "30", "min", "place_order", '{"sz":5}', "alice", "okx", "-"],
        [first, "pending", "30", "min", "cancel_order", '{"ordId":"42"}', "session", "s1", "okx", "critical"],
    ]


def test_a_line_of_the_list_is_cut_however_long_the_arguments_are(state: Path) -> None:
    pending(state, asked({"note": "x" * 4_000}), asked({"note": "x" * 100_000}))
    _, very_long, row, *_ = done(state, "list")
    assert f'{{"note":"{"x" * 29}…  session s1' in row
    assert "long: see `show`" in very_long
    listed = json.loads("\n".join(done(state, "list", "--json")))
    assert [len(one["arguments"]["note"]) for one in listed] == [100_000, 4_000]


def test_a_list_is_of_a_server_and_of_states(state: Path) -> None:
    calls = [asked(server="a"), asked(server="b"), asked(server="b")]
    a, b, over = pending(state, *calls)
    done(state, "deny", over)
    ids = {
        words: {one["id"] for one in document(state, "list", *words)}
        for words in [
            (),
            ("--all",),
            ("--server", "b"),
            ("--state", "denied"),
            ("--state", "denied", "--state", "pending"),
        ]
    }
    assert list(ids.values()) == [{a, b}, {a, b, over}, {b}, {over}, {a, b, over}]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--state", "open"), "--state must be pending or approved"),
        (("--all", "--state", "denied"), "--all, --state and --grants each say what to list"),
        (("--watch", "--grants"), "leave out --grants"),
    ],
)
def test_what_cannot_be_listed_is_wrong_usage(words: tuple[str, ...], text: str, state: Path) -> None:
    assert text in refused(state, "list", *words, status=2)


# One in full.


def test_whoever_approves_sees_all_of_a_call(state: Path) -> None:
    call = asked(
        {"instId": "SOL-USDT", "ordId": "42", "note": "x" * 300, "key": "[masked]"}, asker="alice",
        issuer="https://login.example", client="agent 1.0", takes=True, masked=("args.key",), grant=GRANT, approvers=2,
        four_eyes=True, recent=recent("market_tickers", "place_order"), other='{"task":{"ttl":5}}',
    )  # fmt: skip
    [id_] = pending(state, call)
    out = done(state, "show", id_)
    assert out[0].startswith(f"{id_}: pending, ")
    text = "\n".join(out)
    for line in (
        "  tool       cancel_order",
        "  class      Financial, critical: Moves money, or commits to do so. It cannot be undone.",
        "  reason     Requires human approval",
        "  rule       every cancel, policy.yaml:12",
        "  asked by   alice, of https://login.example, session s1, through agent 1.0, by its own word",
        "  approvals  0 of 2; whoever asks cannot approve",
        '    instId  "SOL-USDT"',
        f'    note    "{"x" * 300}"',
        "    key     masked by the policy: not shown to approvers",
        "  other parameters that the server gets",
        "    task.ttl  5",
        "  limits after it",
        "    orders an hour  1 of 10",
        "    bounds   at most 10 calls with this one, within 1 h",
        '    like it  args.instId equal to "SOL-USDT", args.sz at most 5; free: args.px',
        f"  digest  {digest_of(call)}",
        f"    sidecar approvals approve {id_}",
        f"    sidecar approvals deny {id_}",
    ):
        assert line in out, text
    assert [line.split()[2:] for line in out if "UTC  market" in line or "UTC  place" in line] == [
        ["market_tickers:", "went", "through"], ["place_order:", "went", "through"],
    ]  # fmt: skip


@pytest.mark.parametrize("columns_", [60, 80])
def test_no_line_is_wider_than_the_terminal(columns_: int, state: Path) -> None:
    granting = asked({"instId": "SOL-USDT", "note": "日本 " * 90}, grant=GRANT, reason="because " * 20, asker="a " * 60)
    [id_] = pending(state, granting)
    for words in (
        ["list"],
        ["show", id_],
        ["approve", id_, "--grant", "--reason", "x" * 200],
        ["list"],
        ["revoke", id_],
    ):
        lines = done(state, *words, COLUMNS=str(columns_))
        assert max(map(columns, lines)) <= columns_ or words == ["show", id_]
        if words == ["show", id_]:
            wide = [line for line in lines if columns(line) > columns_]
            assert all(id_ in line for line in wide), wide


def test_all_of_a_call_is_one_json_object(state: Path) -> None:
    call = asked({"n": 1, "text": HOSTILE}, takes=True)
    [id_] = pending(state, call)
    [line] = done(state, "show", id_, "--json")
    assert line.isprintable()
    shown = json.loads(line)
    assert (shown["id"], shown["state"], shown["digest"]) == (id_, "pending", digest_of(call))
    assert shown["arguments"] == {"n": 1, "text": HOSTILE}
    assert shown["limits_after"] == [{"rule": "orders an hour", "total": 1, "limit": 10}]


def test_nothing_that_an_agent_wrote_reaches_the_terminal_as_it_is(state: Path) -> None:
    """Everywhere: its arguments and their names, its own name, the tool's, the parameters beside the arguments."""
    call = asked(
        {HOSTILE.replace("\0", ""): HOSTILE}, tool=f"t{HOSTILE}", client=HOSTILE, asker=HOSTILE, issuer=HOSTILE,
        session=HOSTILE, other=json.dumps({"x": HOSTILE}, separators=(",", ":")), recent=recent(HOSTILE),
        grant=GrantTerms(60, 2, (("args.x", f"value {HOSTILE}"),), (), (HOSTILE,)), reason=HOSTILE, rule=HOSTILE,
    )  # fmt: skip
    [id_] = pending(state, call)
    for words in (["list"], ["show", id_], ["approve", id_, "--grant"], ["list", "--grants"], ["revoke", id_]):
        for line in done(state, *words):
            assert line.isprintable(), line


@pytest.mark.parametrize(
    ("risk", "said"),
    [
        ("Destructive", "Removes what cannot be restored. It cannot be undone."),
        ("Execute", "Runs code or commands. What they do cannot be undone from here."),
        ("Write", "Changes something that can be changed back."),
        ("", "The policy gives this tool no risk class. Assume that it cannot be undone."),
    ],
)
def test_whether_a_call_can_be_undone_is_said_in_words(risk: str, said: str, state: Path) -> None:
    [id_] = pending(state, asked(risk_class=risk, severity="high" if risk else ""))
    [line] = [line for line in done(state, "show", id_) if line.startswith("  class")]
    assert line.endswith(said)


# Ids.


def test_an_id_may_be_shortened_while_no_other_begins_so(state: Path) -> None:
    ids = pending(state, *(asked() for _ in range(3)))
    for id_ in ids:
        for short in (id_, id_.removeprefix("apr_"), id_[:12], id_[4:12]):
            assert document(state, "show", short)["id"] == id_


def test_an_id_that_two_begin_with_names_neither(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = iter(["abcd" + "0" * 16, "abcd" + "1" * 16])
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(digits))
    ids = pending(state, asked(), asked())
    assert refused(state, "approve", "apr_abcd") == "2 approvals begin with apr_abcd: write more of the id"
    assert [found(state, id_).state for id_ in ids] == ["pending", "pending"]
    done(state, "approve", "abcd0")
    assert [found(state, id_).state for id_ in ids] == ["approved", "pending"]


@pytest.mark.parametrize(
    ("id_", "why"),
    [
        ("apr_" + "0" * 20, "there is no approval apr_00000000000000000000 in this store"),
        ("apr_0000000", "there is no approval apr_0000000…"), ("abc", "abc is too short: write at least 4 digits"),
        ("nonsense", "nonsense is no id of an approval"), ("", "is no id"), ("apr_\x1b[2J", r"apr_\u001b[2J is no id"),
        ("apr_" + "0" * 21, "is no id"),
    ],
)  # fmt: skip
def test_what_is_no_id_of_an_approval_is_said(id_: str, why: str, state: Path) -> None:
    pending(state, asked())
    for command in ("show", "approve"):
        assert why in refused(state, command, id_)


# Answers.


def test_where_an_approval_ends_with_its_session_whoever_answers_is_told_so(state: Path) -> None:
    first, second = pending(state, asked(), asked(approvers=2))
    [until] = [line for line in done(state, "show", first) if line.startswith("  until")]
    assert until.endswith(" UTC, and only in session s1")
    noted = done(state, "approve", second)[1]
    assert noted.startswith("It goes through when one more person approved it within ")
    assert noted.endswith(", and only in session s1.")
    done(state, "deny", first)
    assert done(state, "list")[-1] == ONLY_THERE
    done(state, "deny", second)
    assert ONLY_THERE not in done(state, "list", "--all")  # nothing is left that could go through


def test_an_approval_of_somebody_who_signed_in_does_not_end_with_a_session(state: Path) -> None:
    [id_] = pending(state, asked(asker="alice"))
    said = [*done(state, "list"), *done(state, "show", id_), *done(state, "approve", id_)]
    assert "It goes through once: now if it waits in place, else when the agent repeats it within 10 min." in said
    assert "only in" not in "\n".join(said)


def test_an_approved_call_goes_through_once_when_it_is_made_again(state: Path) -> None:
    call = asked()
    [id_] = pending(state, call)
    lines = done(state, "approve", id_, "--reason", "seen with Bob")
    assert lines[0] == f"Approved: cancel_order on okx ({id_})."
    repeated = "when the agent repeats it within 10 min, and only in session s1"
    assert lines[1] == f"It goes through once: now if it waits in place, else {repeated}."
    record = found(state, id_)
    assert record.state == "approved"
    [answer] = record.answers
    assert (answer.by, answer.via, answer.verdict, answer.reason) == (ME, "cli", "approve", "seen with Bob")
    assert answer.origin == f"{ME}@{socket.gethostname()}"
    assert answer.shown == digest_of(call)
    assert abs(answer.at - time.time()) < 60
    assert used(state, call) == id_


def test_a_denied_call_is_refused_from_then_on(state: Path) -> None:
    [id_] = pending(state, asked())
    lines = done(state, "deny", id_, "--by", "bob", "--reason", "too early")
    assert lines[0] == f"Denied: cancel_order on okx ({id_})."
    assert lines[1] == "The agent is told so, with the reason. The same call is refused for 30 min."
    record = found(state, id_)
    assert (record.state, record.answers[0].by, record.answers[0].reason) == ("denied", "bob", "too early")


def test_an_answer_can_be_read_as_json(state: Path) -> None:
    [id_] = pending(state, asked())
    after = document(state, "approve", id_, "--by", "bob")
    assert (after["id"], after["state"], after["answers"][0]["by"]) == (id_, "approved", "bob")


def test_the_same_answer_once_more_changes_nothing(state: Path) -> None:
    [id_] = pending(state, asked())
    done(state, "approve", id_)
    before = found(state, id_)
    assert done(state, "approve", id_)[0].startswith("Nothing changed, the same was said before. Approved: ")
    assert found(state, id_) == before


def test_what_is_over_cannot_be_answered(state: Path) -> None:
    call = asked()
    [id_] = pending(state, call)
    done(state, "deny", id_)
    assert refused(state, "approve", id_) == f"{id_}: it is denied already"
    other = asked()
    [id_] = pending(state, other)
    done(state, "approve", id_)
    used(state, other)
    assert refused(state, "deny", id_, "--by", "bob") == f"{id_}: it is in use already"
    using(state, lambda ledger: ledger.approvals.settle(id_, "consumed"))
    assert refused(state, "deny", id_, "--by", "bob") == f"{id_}: it is consumed already"
    assert refused(state, "revoke", id_).startswith(f"{id_}: it is consumed")
    assert refused(state, "resolve", id_, "--failed").startswith(f"{id_}: it is consumed")


def test_two_different_people_approve_where_the_rule_wants_two(state: Path) -> None:
    [id_] = pending(state, asked(approvers=2))
    first = done(state, "approve", id_, "--by", "alice")
    assert first[0] == f"Noted: cancel_order on okx ({id_})."
    assert first[1].startswith("It goes through when one more person approved it within ")
    assert found(state, id_).state == "pending"
    done(state, "approve", id_, "--by", "alice")
    assert found(state, id_).state == "pending"
    assert done(state, "approve", id_, "--by", "bob")[0].startswith("Approved: ")
    assert found(state, id_).state == "approved"
    assert "  approvals  2 of 2" in done(state, "show", id_)


def test_with_four_eyes_who_asked_does_not_approve(state: Path) -> None:
    [id_] = pending(state, asked(asker="alice", four_eyes=True))
    assert "four_eyes" in refused(state, "approve", id_, "--by", "alice")
    assert found(state, id_).state == "pending"
    done(state, "approve", id_, "--by", "bob")


def test_a_masked_value_is_not_told_as_what_calls_like_it_have(state: Path) -> None:
    terms = GrantTerms(60, 2, (("args.account.id", "value s3cret"),), (("args.account.most", "77777"),))
    [id_] = pending(state, asked({"account": "[masked]"}, grant=terms, masked=("args.account",)))
    out = "\n".join(done(state, "show", id_))
    assert "s3cret" not in out
    assert "77777" not in out


def test_with_four_eyes_who_asked_does_not_say_what_became_of_it(state: Path) -> None:
    call = asked(asker="alice", four_eyes=True)
    [id_] = pending(state, call)
    done(state, "approve", id_, "--by", "bob")
    lost(state, call)
    assert "four_eyes" in refused(state, "resolve", id_, "--failed", "--by", "Alice")
    done(state, "resolve", id_, "--failed", "--by", "bob")


def test_calls_like_it_are_approved_only_where_its_rule_says_so(state: Path) -> None:
    plain, granting = pending(state, asked(), asked({"instId": "SOL-USDT", "sz": 5, "px": 1}, grant=GRANT))
    assert "only this call" in refused(state, "approve", plain, "--grant")
    lines = done(state, "approve", granting, "--grant")
    like = 'args.instId equal to "SOL-USDT", args.sz at most 5; free: args.px'
    assert lines[2:] == [
        f"Calls like it do too, 10 in all within 1 h: {like}.",
        f"`sidecar approvals revoke {granting}` takes that back at once.",
    ]
    headings, row = done(state, "list", "--grants")
    assert headings.split()[:3] == ["STANDING", "LEFT", "CALLS"]
    assert row.startswith(granting)
    assert [one["id"] for one in document(state, "list", "--grants")] == [granting]
    assert any(line.startswith("STANDING") for line in done(state, "list"))


@pytest.mark.parametrize(("value", "words"), [
    (5, '5 or "5"'), ("5", '5 or "5"'), ("5.0", '"5.0"'), ("05", '"05"'), ("-0", '"-0"'), (0, '0 or "0"'),
    (True, 'true or "true"'), ("null", '"null"'), (-1.5, '-1.5 or "-1.5"'), ({"a": 5}, '{"a":5}'), (["5"], '["5"]'),
])  # fmt: skip
def test_what_must_be_equal_is_written_as_the_values_that_are(value: object, words: str) -> None:
    arguments = plain({"n": value})
    terms = GrantTerms(60, 2, (("args.n", same_text(arguments, end_of(arguments, ("n",)))),), ())
    assert like_this(terms) == f"args.n equal to {words}; free: nothing"


def test_what_was_approved_is_taken_back_at_once(state: Path) -> None:
    call = asked({"instId": "SOL-USDT"}, grant=GRANT)
    [id_] = pending(state, call)
    done(state, "approve", id_, "--grant")
    lines = done(state, "revoke", id_, "--reason", "wrong account")
    assert lines[0] == f"Taken back: cancel_order on okx ({id_})."
    assert found(state, id_).state == "denied"
    assert document(state, "list", "--grants") == []


@pytest.mark.parametrize(("how", "left"), [("committed", 1), ("failed", 0)])
def test_somebody_says_what_became_of_a_call_without_an_answer(how: str, left: int, state: Path) -> None:
    call = asked(takes=True)
    [id_] = pending(state, call)
    done(state, "approve", id_)
    lost(state, call)
    shown = done(state, "show", id_)
    assert shown[0].startswith(f"{id_}: unknown: the call went on, and no answer came")
    assert shown[-1] == f"    sidecar approvals resolve {id_} --failed"
    for words in ((), ("--committed", "--failed")):
        assert "say whether the call ran" in refused(state, "resolve", id_, *words, status=2)
    first = done(state, "resolve", id_, f"--{how}")[0]
    assert first == f"Noted: cancel_order on okx ({id_}) {'ran' if how == 'committed' else 'did not run'}."
    assert found(state, id_).state == "consumed"
    counter = Counter(ORDERS.counter, ORDERS.holder, ORDERS.window)
    assert using(state, lambda ledger: ledger.totals((counter,))) == (left,)


def test_what_was_in_use_when_every_sidecar_ended_can_be_resolved(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = asked()
    [id_] = pending(state, call)
    done(state, "approve", id_)
    used(state, call)
    assert "it is in use" in refused(state, "resolve", id_, "--failed")
    now = time.time() + LOST_AFTER + 1
    monkeypatch.setattr(time, "time", lambda: now)
    done(state, "resolve", id_, "--failed")
    assert found(state, id_).state == "consumed"
    assert [(line["event"], line.get("state")) for line in audit(state)] == [
        ("approval", "approved"), ("approval_refused", None), ("approval", "unknown"), ("approval", "consumed"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", " bob", "b\x1bob", "b\u202eob", "b" * 129])
def test_who_answers_has_a_name_that_can_be_read(name: str, state: Path) -> None:
    [id_] = pending(state, asked())
    assert "--by takes a name" in refused(state, "approve", id_, "--by", name, status=2)
    assert found(state, id_).state == "pending"


def test_a_reason_is_no_novel(state: Path) -> None:
    [id_] = pending(state, asked())
    assert "--reason takes at most" in refused(state, "deny", id_, "--reason", "x" * 5_000, status=2)


# The audit log.


def test_every_answer_and_every_refused_try_is_audited_without_a_value(state: Path) -> None:
    [id_] = pending(state, asked({"pin": "s3cret"}))
    done(state, "approve", id_, "--by", "alice", "--reason", "fine")
    refused(state, "deny", id_, "--by", "bob")
    refused(state, "approve", "apr_" + "0" * 20)
    lines = audit(state)
    assert [line["event"] for line in lines] == ["approval", "approval_refused", "approval_refused"]
    assert "s3cret" not in json.dumps(lines)
    assert (lines[0]["approval"], lines[0]["state"], lines[0]["by"]) == (id_, "approved", "alice")


def test_a_try_that_the_store_could_not_take_is_audited_too(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [id_] = pending(state, asked())

    async def gone(*_: object) -> NoReturn:
        raise StoreUnavailable("the store is gone")

    monkeypatch.setattr(SqliteApprovals, "decide", gone)
    assert refused(state, "approve", id_) == "the store is gone"
    assert [(line["event"], line["approval"], line["reason"]) for line in audit(state)] == [
        ("approval_refused", id_, "the store is gone")
    ]


def test_answers_of_people_at_once_are_one_chain(state: Path) -> None:
    ids = pending(state, *(asked(arguments={"n": number}) for number in range(4)))
    with ThreadPoolExecutor(4) as threads:
        ended = list(threads.map(lambda id_: sidecar(state, "approvals", "approve", id_, "--state-dir", state), ids))
    assert [(one.status, one.errors) for one in ended] == [(0, [])] * 4
    assert [line["seq"] for line in audit(state)] == [1, 2, 3, 4]
    done = sidecar(state, "audit", "verify", "events/approvals.jsonl")
    assert (done.status, done.errors) == (0, [])


def test_nothing_is_decided_that_cannot_be_recorded(state: Path) -> None:
    [id_] = pending(state, asked())
    (state / "events" / "approvals.jsonl").mkdir()
    assert "cannot write the audit log" in refused(state, "approve", id_)
    assert found(state, id_).state == "pending"


# Redis.


def test_the_queue_is_the_same_in_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    async def ask() -> str:
        ledger = RedisLedger(redis_server.dsn, "cli-test:", time.time)
        try:
            return await ask_in(ledger, asked())
        finally:
            await ledger.close()

    id_ = asyncio.run(ask())
    state = tmp_path / "audit"
    env = {"SIDECAR_STATE_DSN": redis_server.dsn, "SIDECAR_STATE_PREFIX": "cli-test:"}
    assert [one["id"] for one in json.loads(done(state, "list", "--json", **env)[0])] == [id_]
    assert done(state, "approve", id_[:14], **env)[0] == f"Approved: cancel_order on okx ({id_})."
    assert json.loads(done(state, "show", id_, "--json", **env)[0])["state"] == "approved"
    assert [line["approval"] for line in audit(state)] == [id_]


@pytest.mark.parametrize("dsn", ["http://user:s3cret@h", "redis://user:s3cret@h@x/0", "s3cret"])
def test_what_names_no_redis_is_said_without_the_password(dsn: str, tmp_path: Path) -> None:
    said = approvals(tmp_path / "audit", "list", SIDECAR_STATE_DSN=dsn)
    assert (said.status, len(said.errors)) == (1, 1)
    assert "s3cret" not in said.errors[0]


def test_a_redis_that_is_gone_is_said(tmp_path: Path) -> None:
    said = approvals(tmp_path / "audit", "list", SIDECAR_STATE_DSN="redis://127.0.0.1:1/0")
    assert (said.status, len(said.errors)) == (1, 1)
    assert "store" in said.errors[0]


def test_a_pile_of_marks_in_a_name_does_not_cover_the_lines_around_it(state: Path) -> None:
    pile = "\u0301" * 100
    [id_] = pending(state, asked(tool=f"cancel_{pile}", asker=f"x{pile}", recent=recent(f"y{pile}")))
    for words in (["list"], ["show", id_]):
        assert "\u0301" * 3 not in "".join(done(state, *words))
