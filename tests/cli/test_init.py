"""`sidecar init`: a first policy that works as it is, says what it does, and overwrites nothing."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from sidecar.policy.schema import schema
from sidecar.repository import examples
from sidecar.repository.first import first_policy
from tests.cli.test_policy_commands import sidecar
from tests.support import ROOT, SIDECAR, STUB
from tests.support.peer import Peer, denied

EXAMPLE = re.compile(r"^  #(?=\S|  )", re.MULTILINE)
"""What stands in front of a line that is an example; prose has one blank."""


def test_a_first_policy_is_written_here_without_a_question_and_is_valid(tmp_path: Path) -> None:
    done = sidecar(tmp_path, "init")
    assert (done.status, done.errors) == (0, [])
    assert "sidecar run -c policy.yaml -- COMMAND" in done.out
    valid = sidecar(tmp_path, "validate", "policy.yaml")
    assert (valid.status, valid.errors) == (0, [])
    Draft202012Validator(json.loads(schema())).validate(yaml.safe_load((tmp_path / "policy.yaml").read_text()))


def test_its_examples_are_valid_too_and_of_the_schema(tmp_path: Path) -> None:
    path = first_policy(tmp_path)
    text, found = EXAMPLE.subn("  ", path.read_text(encoding="utf-8"))
    assert found > 10
    path.write_text(text, encoding="utf-8")
    done = sidecar(tmp_path, "risks", "policy.yaml")
    assert done.status == 0
    assert [line.split()[2] for line in done.out.splitlines()] == ["delete_*", "place_order", "cancel_order"]
    Draft202012Validator(json.loads(schema())).validate(yaml.safe_load(text))


def test_the_next_steps_that_it_names_do_what_they_say(tmp_path: Path) -> None:
    done = sidecar(tmp_path, "init", "mine here.yaml")
    (explain,) = re.findall(r"^  (sidecar explain .*)$", done.out, re.MULTILINE)
    ran = subprocess.run(
        ["bash", "-c", explain], cwd=tmp_path, env={"PATH": f"{SIDECAR.parent}:{os.defpath}"}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 3
    assert ran.stdout.startswith("deny: Agents delete nothing here.")


def test_it_refuses_in_front_of_a_server_what_it_says(tmp_path: Path) -> None:
    path = first_policy(tmp_path)
    stub = ["python3", "-S", "-E", str(STUB)]
    with Peer([str(SIDECAR), "-c", str(path), "--state-dir", str(tmp_path / "state"), "--", *stub], tmp_path) as peer:
        peer.initialize()
        assert denied(peer.call("read_file", {})) is None
        assert denied(peer.call("delete_file", {})) == "Agents delete nothing here. Ask a person to do it."


def test_a_folder_gets_a_policy_of_the_usual_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert sidecar(tmp_path, "init", "sub").out.startswith("Wrote sub/policy.yaml. ")
    assert (tmp_path / "sub" / "policy.yaml").is_file()


@pytest.mark.parametrize("there", ["a file", "a link to a file", "a link to nothing"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    path, other = tmp_path / "policy.yaml", tmp_path / "other"
    if there != "a link to nothing":
        (path if there == "a file" else other).write_text("mine")
    if there != "a file":
        path.symlink_to(other)
    done = sidecar(tmp_path, "init")
    assert (done.status, done.out) == (2, "")
    assert done.errors == ["sidecar: policy.yaml is there already, and stays as it is: name another file"]
    assert [one.read_text() for one in (path, other) if one.exists()] in ([], ["mine"], ["mine", "mine"])


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    done = sidecar(tmp_path, "init", "no/such/policy.yaml")
    assert done.status == 1
    assert done.errors == ["sidecar: cannot write no/such/policy.yaml: No such file or directory; name another file"]


def test_nobody_else_can_write_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = first_policy(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_every_shipped_policy_can_be_written_instead() -> None:
    assert examples.names() == sorted(path.stem for path in (ROOT / "policies").glob("*.yaml"))


@pytest.mark.parametrize("name", examples.names())
def test_an_example_is_written_and_valid_where_there_is_no_checkout(tmp_path: Path, name: str) -> None:
    done = sidecar(tmp_path, "init", "--example", name, "mine.yaml")
    assert (done.status, done.errors) == (0, [])
    assert done.out.startswith(f"Wrote mine.yaml, the example {name}.\n")
    written = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert (ROOT / "policies" / f"{name}.yaml").read_text(encoding="utf-8").endswith(written)
    assert "$schema" not in written
    assert sidecar(tmp_path, "validate", "mine.yaml").status == 0


def test_an_example_that_does_not_exist_is_answered_with_those_that_do(tmp_path: Path) -> None:
    done = sidecar(tmp_path, "init", "--example", "../okx")
    assert done.status == 2
    assert done.errors == [f"sidecar: there is no example '../okx': {', '.join(examples.names())}"]
    assert not list(tmp_path.iterdir())
