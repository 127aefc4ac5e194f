"""Who may approve: whom the file names, and nobody else."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.approvals.approvers import Approver, Approvers
from sidecar.auth.principal import Principal
from sidecar.errors import StartError
from sidecar.system.watched_file import LOOK
from tests.approvals.calls import asked
from tests.approvals.people import ALICE, BOB, CAROL, EVERYBODY, entry, put, write
from tests.auth.tokens import Clock

GOOD = "a" * 64
SAME_PERSON = f"""approvers:
- {{name: a, token_sha256: {GOOD}, principal: {{subject: s}}}}
- {{name: b, token_sha256: {"b" * 64}, principal: {{subject: s}}}}
"""


def everybody(tmp_path: Path, clock: Callable[[], float] | None = None) -> Approvers:
    return Approvers(write(tmp_path / "people.yaml", *EVERYBODY), clock or Clock())


def problems(tmp_path: Path, content: str) -> str:
    """What is said of a file that is wrong."""
    path = put(tmp_path / "people.yaml", content)
    with pytest.raises(StartError) as caught:
        Approvers(path)
    return str(caught.value).replace(str(path), "F")


def test_a_token_is_that_of_its_approver_and_no_other_text_is(tmp_path: Path) -> None:
    approvers = everybody(tmp_path)
    assert [found.name for token in (ALICE, BOB, CAROL) if (found := approvers.who(token))] == ["alice", "bob", "carol"]
    for wrong in ("", "alice", ALICE[:-1], f"{ALICE} ", f"{ALICE}\n", ALICE.upper(), "é", "\udcff"):
        assert approvers.who(wrong) is None


def test_a_token_is_compared_with_that_of_every_approver_whether_one_is_found_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    approvers = everybody(tmp_path)
    compared: list[bytes] = []
    compare = hmac.compare_digest

    def counted(given: bytes, known: bytes) -> bool:
        compared.append(known)
        return compare(given, known)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    for token in (ALICE, CAROL, "nobody's", ""):
        compared.clear()
        approvers.who(token)
        assert len(set(compared)) == len(EVERYBODY)


def test_an_approver_answers_for_the_servers_and_tools_that_are_named() -> None:
    anyone = Approver("alice")
    assert anyone.may_answer("okx", "place_order")
    carol = Approver("carol", ("okx", "demo-?"), ("cancel_*",))
    assert carol.may_answer("okx", "cancel_order")
    assert carol.may_answer("demo-1", "cancel_order")
    for server, tool in [("okx", "place_order"), ("okx2", "cancel_order"), ("demo-10", "cancel_order"),
                         ("okx", "x_cancel_order"), ("OKX", "cancel_order")]:  # fmt: skip
        assert not carol.may_answer(server, tool)


def test_who_asked_is_known_by_the_principal_that_the_file_names() -> None:
    login = "https://login.example.com"
    bob = Approver("bob", principal=Principal("bob@example.com", login))
    call = asked(asker="bob@example.com", issuer=login)
    assert bob.asked_for(call)
    assert not bob.asked_for(asked(asker="bob", issuer=login))
    assert not bob.asked_for(asked(asker="bob@example.com", issuer="https://elsewhere.example.com"))


def test_a_principal_without_an_issuer_is_that_subject_of_any() -> None:
    bob = Approver("bob", principal=Principal("bob@example.com"))
    assert bob.asked_for(asked(asker="bob@example.com", issuer="https://login.example.com"))
    assert bob.asked_for(asked(asker="Bob@Example.com", issuer="https://login.example.com"))
    assert bob.asked_for(asked(asker="bob@example.com"))
    assert not bob.asked_for(asked(asker="alice@example.com"))


def test_without_a_principal_the_name_says_who_asked_however_it_is_written() -> None:
    alice = Approver("alice")
    assert alice.asked_for(asked(asker="alice", issuer="https://login.example.com"))
    assert alice.asked_for(asked(asker="ALICE"))
    assert not alice.asked_for(asked(asker="alice@example.com"))
    assert not alice.asked_for(asked(asker=""))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "F:1:1: file: names nobody: write approvers: and below it - name: and token_sha256:"),
        ("approvers: []", "F:1:1: file: names nobody: write approvers: and below it - name: and token_sha256:"),
        ("approvers: alice", "F:1:12: approvers: must be a list: begin each item with a dash"),
        ("people: []", 'F:1:1: file: the key "people" is not known here: write approvers'),
        (f"approvers:\n- token_sha256: {GOOD}", "F:2:3: approvers[1]: name is missing: write name and token_sha256"),
        ("approvers:\n- name: a\n", "token_sha256 is missing"),
        (
            "approvers:\n- name: a\n  token: hunter2hunter2",
            "F:3:3: approvers[1].token: a token in clear must not stand",
        ),
        (
            "approvers:\n- name: a\n  token_sha256: hunter2",
            "F:3:17: approvers[1].token_sha256: is no SHA-256 in 64 hex",
        ),
        (f"approvers:\n- name: a\n  token_sha256: [{GOOD}]", "is no SHA-256 in 64 hex"),
        (
            "approvers:\n- name: a\n  token_sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "is the digest of nothing: set TOKEN first",
        ),
        (f'approvers:\n- name: ""\n  token_sha256: {GOOD}', "approvers[1].name: write a name of 1 to 64 visible"),
        (f'approvers:\n- name: "al\\u202eice"\n  token_sha256: {GOOD}', "approvers[1].name: write a name of 1 to 64"),
        (f"approvers:\n- name: 5\n  token_sha256: {GOOD}", 'must be a text: write "5" in quotes'),
        (
            f"approvers:\n- name: alice\n  token_sha256: {GOOD}\n- name: Alice\n  token_sha256: {'b' * 64}",
            "F:4:9: approvers[2].name: stands in line 2 too: another approver has this name",
        ),
        (
            f"approvers:\n- name: a\n  token_sha256: {GOOD}\n- name: b\n  token_sha256: {GOOD.upper()}",
            "F:5:17: approvers[2].token_sha256: stands in line 3 too: another approver has this token",
        ),
        (
            f"approvers: [{{name: a, token_sha256: {GOOD}}}, {{name: b, token_sha256: {GOOD}}}]",
            "approvers[2].token_sha256: stands in line 1 too: another approver has this token",
        ),
        (
            SAME_PERSON,
            "approvers[2].principal: stands in line 2 too: another approver is, or may be, the same",
        ),
        (
            SAME_PERSON.replace("subject: s", "subject: B", 1).replace(", principal: {subject: s}", ""),
            "approvers[2].name: stands in line 2 too: another approver is, or may be, the same",
        ),
        (
            SAME_PERSON.replace("subject: s", "subject: A, issuer: i").replace(
                ", principal: {subject: A, issuer: i}", "", 1
            ),
            "approvers[2].principal: stands in line 2 too: another approver is, or may be, the same",
        ),
        (
            SAME_PERSON.replace("subject: s}", "subject: S, issuer: i}", 1),
            "approvers[2].principal: stands in line 2 too",
        ),
        (f"approvers:\n- name: a\n  token_sha256: {GOOD}\n  tools: []", "F:4:10: approvers[1].tools: names nothing"),
        (f"approvers:\n- name: a\n  token_sha256: {GOOD}\n  tools: x", "approvers[1].tools: must be a list"),
        (f"approvers:\n- name: a\n  token_sha256: {GOOD}\n  tool: [x]", 'the key "tool" is not known here'),
        (f"approvers:\n- name: a\n  token_sha256: {GOOD}\n  principal: {{issuer: x}}", "subject is missing"),
        ("approvers: [", "F:"),
    ],
)
def test_a_file_that_is_wrong_stops_the_start_and_says_where_and_what_instead(
    tmp_path: Path, content: str, said: str
) -> None:
    found = problems(tmp_path, content)
    assert said in found
    assert "hunter2" not in found
    assert GOOD not in found.lower()


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "approvers:\n- name: ''\n  token_sha256: x\n- name: b\n")
    assert len(found.splitlines()) == 3


def test_a_file_that_others_can_read_or_change_stops_the_start(tmp_path: Path) -> None:
    for mode in (0o604, 0o602):
        path = write(tmp_path / "people.yaml", *EVERYBODY)
        path.chmod(mode)
        with pytest.raises(StartError, match="everybody"):
            Approvers(path)


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="--approvers-file"):
        Approvers(tmp_path / "absent")


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    clock = Clock()
    approvers = everybody(tmp_path, clock)
    write(tmp_path / "people.yaml", entry("dave", BOB), entry("carol", CAROL, tools=["*"]))
    clock.now += LOOK
    assert approvers.who(ALICE) is None
    found = approvers.who(BOB)
    assert found is not None
    assert found.name == "dave"


def test_a_new_file_that_is_wrong_changes_nothing_and_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    approvers = everybody(tmp_path, clock)
    put(tmp_path / "people.yaml", "approvers:\n- name: mallory\n  token_sha256: nothing\n")
    clock.now += LOOK
    assert approvers.who(ALICE) is not None
    assert "wrong, so it changed nothing" in caplog.text
    caplog.clear()
    clock.now += LOOK
    assert approvers.who(ALICE) is not None
    assert not caplog.text


def test_a_new_file_that_others_could_have_written_changes_nothing(tmp_path: Path) -> None:
    clock = Clock()
    approvers = everybody(tmp_path, clock)
    write(tmp_path / "people.yaml", entry("mallory", "m" * 64)).chmod(0o646)
    clock.now += LOOK
    assert approvers.who("m" * 64) is None
    assert approvers.who(ALICE) is not None


def test_while_there_is_no_file_nobody_may_approve(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    approvers = everybody(tmp_path, clock)
    (tmp_path / "people.yaml").unlink()
    clock.now += LOOK
    assert approvers.who(ALICE) is None
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    write(tmp_path / "people.yaml", *EVERYBODY)
    clock.now += LOOK
    assert approvers.who(ALICE) is not None
