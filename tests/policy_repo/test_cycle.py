"""What an author does with a repository before anything is published: each verb, and what it ends with."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.policy_repo.following import Following
from tests.policy_repo.verbs import CLOSED, OPEN, OPENED, POLICY, Key, built, git, new_key, policy, written
from tests.support import SIDECAR
from tests.support.peer import SECONDS, denied

pytestmark = [pytest.mark.policy_repo, pytest.mark.timeout(240)]

CLOSED_MORE = POLICY.replace("{rules: []}", "{rules: [{name: never, action: deny, reason: Nobody reads}]}")


def test_a_repository_as_init_writes_it_passes_its_own_tests_and_can_be_built(tmp_path: Path, key: Key) -> None:
    policy("init", "desk", cwd=tmp_path)
    policy("test", "desk", cwd=tmp_path)
    git(tmp_path / "desk", "init", "-q")
    git(tmp_path / "desk", "add", ".")
    git(tmp_path / "desk", "commit", "-qm", "A policy")
    commit = git(tmp_path / "desk", "rev-parse", "HEAD").strip()
    said = policy("build", "desk", "-o", "policy.tar.gz", "--serial", "7", "--key", str(key.private), cwd=tmp_path)
    assert re.search(r"serial:? 7\b", said)
    assert commit in said


def test_a_failing_case_is_told_and_fails(tmp_path: Path) -> None:
    repository = written(tmp_path / "desk")
    (repository / "tests").mkdir()
    case = f"- name: deletes\n  steps:\n    - {{call: {CLOSED}, arguments: {{}}, expect: allow}}\n"
    (repository / "tests" / "calls.yaml").write_text(case)
    assert "deletes" in policy("test", "desk", "--junit", "report.xml", cwd=tmp_path, status=1)
    assert "<failure" in (tmp_path / "report.xml").read_text()
    (repository / "policies" / "policy.yaml").write_text(OPENED)
    policy("test", "desk", cwd=tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "status"), [(POLICY, POLICY, 0), (POLICY, CLOSED_MORE, 3), (POLICY, OPENED, 4), (OPENED, POLICY, 3)]
)  # fmt: skip
def test_the_status_of_diff_says_what_a_change_does(old: str, new: str, status: int, tmp_path: Path) -> None:
    written(tmp_path / "old", old)
    written(tmp_path / "new", new)
    said = policy("diff", "old", "new", cwd=tmp_path, status=status)
    assert (CLOSED in said) is (POLICY in (old, new) and OPENED in (old, new))


def test_what_a_sidecar_recorded_says_what_a_change_does(tmp_path: Path, key: Key) -> None:
    good = tmp_path / "1.tar.gz"
    built(written(tmp_path / "old"), good, 1, key)
    calls = tmp_path / "calls.jsonl"
    with Following(tmp_path, str(good), [key], "--record", str(calls)) as sidecar:
        assert str(calls) in sidecar.errors, "it is said that calls are recorded, and where"
        assert sidecar.decides_as_before()
    written(tmp_path / "closed", CLOSED_MORE)
    written(tmp_path / "opened", OPENED)
    for new, status in (("old", 0), ("closed", 3), ("opened", 4), (str(good), 0)):
        policy("replay", str(calls), "-c", new, cwd=tmp_path, status=status)
    found = _document("replay", str(calls), "-c", "opened", cwd=tmp_path)
    assert {(change["tool"], change["old"], change["new"]) for change in found["loosened"]} == {
        (CLOSED, "deny", "allow")
    }
    assert (found["tightened"], found["unchanged"], found["not_replayable"]) == ([], 1, [])


def test_bundles_can_be_compared_too(tmp_path: Path, key: Key) -> None:
    built(written(tmp_path / "old"), tmp_path / "1.tar.gz", 1, key)
    built(written(tmp_path / "new", OPENED), tmp_path / "2.tar.gz", 2, key)
    policy("diff", "1.tar.gz", "2.tar.gz", cwd=tmp_path, status=4)
    policy("diff", "2.tar.gz", "1.tar.gz", cwd=tmp_path, status=3)
    policy("diff", "1.tar.gz", "old", cwd=tmp_path, status=0)


def test_the_same_input_and_key_give_the_same_bytes_wherever_they_are_built(tmp_path: Path, key: Key) -> None:
    first = built(written(tmp_path / "here"), tmp_path / "1.tar.gz", 1, key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Pacific/Auckland")
        patch.setenv("PYTHONHASHSEED", "1")
        umask = os.umask(0o077)
        try:
            again = built(written(tmp_path / "elsewhere" / "deep"), tmp_path / "again.tar.gz", 1, key)
        finally:
            os.umask(umask)
    assert first == again
    assert first != built(tmp_path / "here", tmp_path / "2.tar.gz", 2, key)


def test_a_key_comes_from_the_environment_too_and_no_word_of_it_is_said(
    tmp_path: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_file = built(written(tmp_path / "desk"), tmp_path / "1.tar.gz", 1, key)
    monkeypatch.setenv("SIDECAR_POLICY_KEY", key.private.read_text())
    said = policy("build", "desk", "-o", "2.tar.gz", "--serial", "1", cwd=tmp_path)
    assert (tmp_path / "2.tar.gz").read_bytes() == by_file
    assert not [line for line in key.private.read_text().splitlines() if line in said]


def test_a_p256_key_signs_too_and_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    newer = new_key(tmp_path, "newer", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    desk = written(tmp_path / "desk")
    first, second = (built(desk, tmp_path / f"{number}.tar.gz", 1, newer) for number in (1, 2))
    assert first == second
    with Following(tmp_path, str(tmp_path / "1.tar.gz"), [newer]) as sidecar:
        assert sidecar.decides_as_before()


def test_a_destination_gives_a_serial_once(tmp_path: Path, key: Key) -> None:
    built(written(tmp_path / "desk"), tmp_path / "1.tar.gz", 1, key)
    built(written(tmp_path / "other", OPENED), tmp_path / "other.tar.gz", 1, key)
    said = policy("publish", "1.tar.gz", "published", cwd=tmp_path)
    assert re.search(r"serial:? 1\b", said)
    assert "already there" in policy("publish", "1.tar.gz", "published", cwd=tmp_path)
    assert "other content" in policy("publish", "other.tar.gz", "published", cwd=tmp_path, status=1)


def test_a_candidate_is_asked_about_the_same_calls_and_decides_nothing(tmp_path: Path, key: Key) -> None:
    good = tmp_path / "1.tar.gz"
    built(written(tmp_path / "old"), good, 1, key)
    candidate = written(tmp_path / "candidate", OPENED)
    with Following(tmp_path, str(good), [key], "--shadow", str(candidate)) as sidecar:
        assert sidecar.decides_as_before()
        sidecar.wait_for_error(CLOSED, 4 * SECONDS)
        assert denied(sidecar.call(CLOSED, {})) is not None
        assert sidecar.permits(OPEN)


def _document(*words: str, cwd: Path) -> dict[str, Any]:
    """What a verb writes with `--json`, whatever it ends with."""
    done = subprocess.run(
        [str(SIDECAR), "policy", *words, "--json"], cwd=cwd, capture_output=True, text=True,
        timeout=8 * SECONDS, check=False,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found
