"""Policies edited while the sidecar runs: a good one comes into force however it is written, a bad one never."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import OPA
from tests.support.peer import TELEMETRY, Sidecar, denied, kind, until

OPEN = "tools: {t: {rules: []}}\n"
IN_FORCE = "the changed policy is in force"
REFUSED = "the changed policy is refused, the old one stays in force"
SECONDS = 10.0
"""For a change to come into force; usual is less than one."""


def saying(reason: str, more: str = "") -> str:
    """A policy that denies the tool `t` with this reason."""
    return f"tools: {{t: {{rules: [{{action: deny, reason: {reason}}}]}}}}\n{more}"


def until_said(sidecar: Sidecar, reason: str | None) -> None:
    """Wait until a call of `t` is answered so; None stands for an allowed one."""
    until(lambda: denied(sidecar.call("t")) == reason, SECONDS, f"the answer {reason}")


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def by_move(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def removed_and_made_anew(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


def as_large_and_as_old_as_before(path: Path, text: str) -> None:
    before = path.stat()
    path.write_text(text.rstrip("\n") + "#".rjust(before.st_size - len(text), " ") + "\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("edit", [in_place, by_move, removed_and_made_anew, as_large_and_as_old_as_before])
def test_an_edit_is_in_force_soon_and_said(tmp_path: Path, edit: Callable[[Path, str], None]) -> None:
    with Sidecar(tmp_path, OPEN + "#" * 100 + "\n", *TELEMETRY) as sidecar:
        assert denied(sidecar.call("t")) is None
        for count, reason in enumerate(("first", "second"), 1):
            edit(tmp_path / "policy.yaml", saying(reason))
            until_said(sidecar, reason)
            until(lambda: sidecar.errors.count(IN_FORCE) == count)  # noqa: B023 - used before the next turn
            assert sidecar.metric("bundle_info", serial=str(count + 1)) == sidecar.metric("bundle_info") == 1
            assert sidecar.audit[-1]["serial"] == count + 1
        assert sidecar.metric("reloads_total", result="accepted") == 2
        assert sidecar.metric("reloads_total", result="refused") == 0


def test_a_secret_of_a_later_policy_that_the_server_has_already_is_said(tmp_path: Path) -> None:
    """What holds it can speak in our name, and nobody can take it back from a process that runs."""
    hook = "approvals: {notify: {webhook: {url: 'http://127.0.0.1:1/', secret_env: HOOK_SECRET}}}\n"
    environment = {"HOOK_SECRET": "s3cret-s3cret-s3cret-s3cret"}
    with Sidecar(tmp_path, OPEN, env=environment) as sidecar:
        by_move(tmp_path / "policy.yaml", saying("first", hook))
        until_said(sidecar, "first")
        sidecar.wait_for_error("HOOK_SECRET was in the environment of the MCP server when it was started")
        by_move(tmp_path / "policy.yaml", saying("second", hook))
        until_said(sidecar, "second")
        assert sidecar.errors.count("HOOK_SECRET was in") == 1
        assert "s3cret" not in sidecar.errors
    with Sidecar(tmp_path, OPEN + hook, env=environment) as sidecar:
        assert denied(sidecar.call("t")) is None
        assert "HOOK_SECRET was in" not in sidecar.errors


def test_a_file_that_is_emptied_first_and_written_later_never_opens_anything(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    with Sidecar(tmp_path, saying("old")) as sidecar:
        os.truncate(path, 0)
        sidecar.wait_for_error(REFUSED)
        assert denied(sidecar.call("t")) == "old"
        path.write_text(saying("new"))
        until_said(sidecar, "new")


SEED = """\
version: "1"
description: What the shop's agent may do.
tools:
  first:
    rules: [{action: allow}]
  t:
    rules:
      - conditions: [{path: args.amount, op: lte, value: 100}]
      - {name: closed, action: deny, reason: old}
  last:
    rules: [{action: deny, reason: old}]
"""


def test_a_policy_that_is_saved_in_two_pieces_is_never_in_force_by_its_first(tmp_path: Path) -> None:
    path, new = tmp_path / "policy.yaml", SEED.replace("old", "new")
    at = new.index("  t:")
    with Sidecar(tmp_path, SEED, *TELEMETRY) as sidecar:
        with path.open("w") as file:
            file.write(new[:at])
            file.flush()
            sidecar.wait_for_error(f"{REFUSED}: {path}: somebody still has it open for writing")
            assert denied(sidecar.call("t", {"amount": 1})) == "old"
            assert sidecar.metric("reloads_total", result="refused") == 1
            file.write(new[at:])
        until(lambda: denied(sidecar.call("t", {"amount": 1})) == "new", SECONDS)
        sidecar.wait_for_error(IN_FORCE)
        assert sidecar.errors.count(REFUSED) == 1


NOTHING = {
    "null": "null\n", "a marker": "---\n", "no tools": "tools:\n", "a version": 'version: "1"\n',
    "a description": "description: mine\n", "a comment": "# mine\n", "nothing": "", "no entry": "tools:\n  t:\n",
    "no rules": "tools:\n  t:\n    rules:\n", "another tool": "tools: {u: {rules: []}}\n",
    "all closed": "default: deny\n",
}  # fmt: skip


def test_a_policy_without_a_rule_is_refused_unless_it_says_that_it_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    with Sidecar(tmp_path, SEED) as sidecar:
        for count, text in enumerate(NOTHING.values(), 1):
            by_move(path, text)
            until(lambda: sidecar.errors.count(f"{REFUSED}: {path}: ") == count)  # noqa: B023 - used at once
            assert denied(sidecar.call("t")) is not None
        assert sidecar.errors.count("write `tools: {}`") == len(NOTHING)
        by_move(path, "tools: {}\n")
        until_said(sidecar, None)


def test_the_rules_of_tools_that_are_named_may_be_taken_away(tmp_path: Path) -> None:
    with Sidecar(tmp_path, SEED) as sidecar:
        by_move(tmp_path / "policy.yaml", "tools: {first: {rules: []}, t: {rules: []}, last: {rules: []}}\n")
        until_said(sidecar, None)


def test_one_of_two_files_must_say_so_as_well(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(saying("old").replace("t:", "u:"))
    with Sidecar(tmp_path, saying("old"), "-c", str(other)) as sidecar:
        by_move(other, "tools:\n")
        sidecar.wait_for_error(f"{REFUSED}: {other}: takes every rule away")
        assert denied(sidecar.call("u")) == "old"


def test_a_file_with_the_name_of_another_must_say_so_as_well(tmp_path: Path) -> None:
    other = tmp_path / "other" / "policy.yaml"
    other.parent.mkdir()
    other.write_text(saying("old").replace("t:", "u:"))
    with Sidecar(tmp_path, saying("old"), "-c", str(other)) as sidecar:
        by_move(other, "null\n")
        sidecar.wait_for_error(f"{REFUSED}: {other}: takes every rule away")
        assert denied(sidecar.call("u")) == "old"


def test_a_start_waits_for_whoever_writes_the_policy_and_then_gives_up(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    with path.open("w") as file:
        file.write(saying("first"))
        file.flush()
        with Sidecar(tmp_path, path, ready=False) as sidecar:
            assert sidecar.wait() == 1
            assert f"{path}: somebody still has it open for writing" in sidecar.errors
        with Sidecar(tmp_path, path, ready=False) as sidecar:
            file.close()
            sidecar.wait_for_error("ready\n")
            assert denied(sidecar.call("t")) == "first"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 2 << 30)


@pytest.mark.parametrize("make", [pipe, device, huge])
def test_a_policy_that_is_no_small_file_is_refused_at_once_and_holds_up_no_end(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "policy.yaml"
    with Sidecar(tmp_path, saying("old")) as sidecar:
        path.unlink()
        make(path)
        sidecar.wait_for_error(f"{REFUSED}: cannot read the policy {path}: it is ")
        assert denied(sidecar.call("t")) == "old"
        path.unlink()
        path.write_text(saying("new"))
        until_said(sidecar, "new")
        path.unlink()
        make(path)
        until(lambda: sidecar.errors.count(f"cannot read the policy {path}: it is ") == 2)
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait() in (0, 143)
    with Sidecar(tmp_path, path, ready=False) as sidecar:
        assert sidecar.wait() == 1
        assert f"cannot read the policy {path}: it is " in sidecar.errors


def test_the_symlinks_of_a_mounted_config_map_may_be_swapped(tmp_path: Path) -> None:
    def mount(version: int, text: str) -> None:
        folder = tmp_path / f"..{version}"
        folder.mkdir()
        (folder / "policy.yaml").write_text(text)
        (tmp_path / "..data_tmp").symlink_to(folder.name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        shutil.rmtree(tmp_path / f"..{version - 1}", ignore_errors=True)

    mount(1, OPEN)
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    with Sidecar(tmp_path, tmp_path / "policy.yaml") as sidecar:
        assert denied(sidecar.call("t")) is None
        for version, reason in enumerate(("first", "second"), 2):
            mount(version, saying(reason))
            until_said(sidecar, reason)


@pytest.mark.parametrize("changed", [0, 1])
def test_one_of_two_files_may_change(tmp_path: Path, changed: int) -> None:
    files = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    for path, tool in zip(files, ("t", "u"), strict=True):
        path.write_text(saying("old").replace("t:", f"{tool}:"))
    with Sidecar(tmp_path, files[0], "-c", str(files[1])) as sidecar:
        tool = "tu"[changed]
        files[changed].write_text(saying("new").replace("t:", f"{tool}:"))
        until(lambda: denied(sidecar.call(tool)) == "new", SECONDS)
        assert denied(sidecar.call("tu"[1 - changed])) == "old"


def test_an_edit_made_while_the_sidecar_starts_is_not_missed(tmp_path: Path) -> None:
    opa, starting, go = tmp_path / "opa", tmp_path / "starting", tmp_path / "go"
    waits = f"touch {starting}; until [ -e {go} ]; do /bin/sleep 0.02; done"
    opa.write_text(f'#!/bin/sh\nif [ "$1" = run ]; then {waits}; fi\nexec {OPA} "$@"\n')
    opa.chmod(0o755)
    with Sidecar(tmp_path, saying("old"), "--opa-bin", str(opa), ready=False) as sidecar:
        until(starting.exists)
        (tmp_path / "policy.yaml").write_text(saying("new"))
        go.touch()
        sidecar.wait_for_error("ready\n")
        until_said(sidecar, "new")


BAD: dict[str, tuple[str, str]] = {
    "syntax": ("tools: [", "policy.yaml:"),
    "unknown key": ("tools: {t: {rulez: []}}", "rulez"),
    "pattern": ('tools: {t: {rules: [{conditions: [{path: args.a, op: regex, value: "(?=x)"}]}]}}', "RE2"),
    "allows on a condition": (
        "tools: {t: {rules: [{action: allow, conditions: [{path: args.a, op: eq, value: 1}]}]}}",
        "policy.yaml:1:37: tools.t.rules[1]: ",
    ),
    "nobody to count for": (
        "tools: {t: {rules: [{rate_limit: {max: 1, window: day, scope: principal}}]}}",
        "scope: principal",
    ),
    "comments only": ("# nothing\n", "policy.yaml"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_edit_leaves_the_old_policy_in_force_and_says_why(tmp_path: Path, bad: str) -> None:
    text, why = BAD[bad]
    with Sidecar(tmp_path, saying("old"), *TELEMETRY) as sidecar:
        (tmp_path / "policy.yaml").write_text(text)
        sidecar.wait_for_error(REFUSED)
        (line,) = [line for line in sidecar.errors.splitlines() if REFUSED in line]
        assert why in line
        assert denied(sidecar.call("t")) == "old"
        assert sidecar.metric("reloads_total", result="refused") == 1
        assert sidecar.metric("bundle_info", serial="1") == 1
        (tmp_path / "policy.yaml").write_text(saying("new"))
        until_said(sidecar, "new")
        until(lambda: sidecar.metric("reloads_total", result="accepted") == 1)


def test_a_file_that_is_removed_leaves_its_policy_in_force_and_may_come_back(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    with Sidecar(tmp_path, saying("old"), *TELEMETRY) as sidecar:
        path.unlink()
        sidecar.wait_for_error(f"{REFUSED}: cannot read the policy {path}: No such file or directory")
        assert denied(sidecar.call("t")) == "old"
        assert sidecar.metric("reloads_total", result="refused") == 1
        path.write_text(saying("new"))
        until_said(sidecar, "new")


def test_a_warning_about_the_changed_policy_is_said_with_it(tmp_path: Path) -> None:
    with Sidecar(tmp_path, OPEN) as sidecar:
        rules = "[{action: deny, reason: all}, {conditions: [{path: args.a, op: eq, value: 1}]}]"
        (tmp_path / "policy.yaml").write_text(f"tools: {{t: {{rules: {rules}}}}}\n")
        sidecar.wait_for_error(f"{IN_FORCE}; ")


def test_told_not_to_watch_it_keeps_the_policy_that_it_started_with(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with (
        Sidecar(tmp_path, saying("old")) as watching,
        Sidecar(other, tmp_path / "policy.yaml", "--no-watch") as blind,
    ):
        for reason in ("new", "newer"):
            (tmp_path / "policy.yaml").write_text(saying(reason))
            until_said(watching, reason)
        assert denied(blind.call("t")) == "old"
        assert IN_FORCE not in blind.errors


def test_what_was_counted_stays_counted_when_the_policy_changes(tmp_path: Path) -> None:
    limit = "tools: {t: {rules: [{name: day, rate_limit: %d/day}]}, u: {rules: [{action: deny, reason: %s}]}}\n"
    with Sidecar(tmp_path, limit % (3, "old")) as sidecar:
        assert [denied(sidecar.call("t")) for _ in range(2)] == [None, None]
        for number, reason, passed in ((3, "new", 1), (5, "newer", 2)):
            (tmp_path / "policy.yaml").write_text(limit % (number, reason))
            until(lambda: denied(sidecar.call("u")) == reason, SECONDS)  # noqa: B023 - used before the next turn
            assert [denied(sidecar.call("t")) for _ in range(4)].count(None) == passed


# Calls while policies change.


def burst(sidecar: Sidecar, number: int, arguments: object) -> list[str | None]:
    """What becomes of calls that are in flight together; a refusal of any other kind than a rule's is a failure."""
    ids = [sidecar.post("tools/call", {"name": "t", "arguments": arguments}) for _ in range(number)]
    replies = {reply["id"]: reply for reply in (sidecar.read() for _ in ids)}
    assert set(replies) == set(ids)
    assert all("result" in reply and kind(reply) in (None, "rule") for reply in replies.values()), replies
    return [denied(replies[id_]) for id_ in ids]


@pytest.mark.parametrize("options", [(), ("--no-remember",)], ids=["remembers", "asks every time"])
def test_every_call_gets_the_answer_of_the_old_or_the_new_policy_and_then_only_of_the_new(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with Sidecar(tmp_path, OPEN, *options) as sidecar:
        calls, old = 0, None
        for new in ("A", "B", None, "A", None, "B"):
            (tmp_path / "policy.yaml").write_text(saying(new) if new else OPEN)
            came: list[str | None] = []
            while new not in came:
                came = burst(sidecar, 16, {"call": calls})
                calls += len(came)
                assert set(came) <= {old, new}
                assert calls < 200_000
            assert set(burst(sidecar, 40, {"call": 0})) == {new}
            calls, old = calls + 40, new
        assert calls > 300


def test_no_call_is_judged_half_by_one_policy_and_half_by_another(tmp_path: Path) -> None:
    # Each reads another argument, so that the question to one, judged by the other, gets a wrong answer.
    policies = [
        f"tools: {{t: {{rules: [{{conditions: [{{path: args.{path}, op: eq, value: 1}}]}}]}},"
        f" u: {{rules: [{{action: deny, reason: {path}}}]}}}}\n"
        for path in ("x", "y")
    ]
    with Sidecar(tmp_path, policies[0], "--no-remember") as sidecar:
        for turn in range(1, 7):
            (tmp_path / "policy.yaml").write_text(policies[turn % 2])
            while denied(sidecar.call("u")) != "xy"[turn % 2]:
                assert set(burst(sidecar, 16, {"x": 1, "y": 1})) == {None}
                assert None not in burst(sidecar, 8, {"x": 0, "y": 0})
        received = [line for line in sidecar.received if '"x":0' in line]
        assert received == []


# The list of tools.


@pytest.mark.parametrize(
    ("stub", "changed", "told"),
    [
        (("--announce",), OPEN + "hide: [b]\n", True), (("--announce",), OPEN + "hide: [a, b]\n", False),
        ((), OPEN + "hide: [b]\n", False),
    ],
    ids=["hide changed", "something else changed", "the server never announced it"],
)  # fmt: skip
def test_a_client_that_listens_is_told_to_list_the_tools_again_when_others_are_hidden(
    tmp_path: Path, stub: tuple[str, ...], changed: str, told: bool
) -> None:
    with Sidecar(tmp_path, OPEN + "# \nhide: [a, b]\n", stub=("--tools", "a,b,c", *stub)) as sidecar:
        sidecar.initialize()
        (tmp_path / "policy.yaml").write_text(changed.replace("t:", "s:"))
        sidecar.wait_for_error(IN_FORCE)
        notification = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        assert sidecar.until_ping() == ([notification] if told else [])
        listed = [tool["name"] for tool in sidecar.request("tools/list")["result"]["tools"]]
        assert listed == (["a", "c"] if "[b]" in changed else ["c"])


def test_a_tool_that_becomes_hidden_can_neither_be_seen_nor_called(tmp_path: Path) -> None:
    with Sidecar(tmp_path, OPEN, stub=("--tools", "t,u")) as sidecar:
        assert denied(sidecar.call("t")) is None
        (tmp_path / "policy.yaml").write_text("hide: [t]\n" + OPEN)
        until_said(sidecar, 'Tool "t" is hidden by policy')
        assert [tool["name"] for tool in sidecar.request("tools/list")["result"]["tools"]] == ["u"]
