"""docs/policy-repo.md: reasons, bounds, files, variables are those of the code. tests/policy_repo runs its commands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from sidecar.distribution.feed import AGAIN
from sidecar.distribution.source import MAX_SIZE
from sidecar.engine.sign import MIN_RSA_BITS
from sidecar.events import BUNDLE_REFUSALS
from sidecar.repository.begin import begin
from tests.support import OPA, ROOT, SIDECAR
from tests.support.peer import SECONDS

TEXT = (ROOT / "docs" / "policy-repo.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """What stands under a heading."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_reason_for_a_refusal_is_explained_and_no_other() -> None:
    assert re.findall(r"^\| `(\w+)` \|", section("What is refused"), re.M) == list(BUNDLE_REFUSALS)


def test_figures_are_those_of_the_code() -> None:
    assert f"RSA of at least {MIN_RSA_BITS} bits" in section("Keys")
    assert f"more than {MAX_SIZE >> 20} MiB" in section("What is refused")
    assert f"after {AGAIN[0]:g} s and then ever less often" in section("What is refused")


def test_the_files_that_init_writes_are_those_of_the_tree(tmp_path: Path) -> None:
    written = {str(path) for path in begin(tmp_path / "desk")}
    tree = section("The repository").partition("```\n")[2].partition("```")[0]
    shown = re.findall(r"(?<![\w/])[\w.*-]+/?[\w./*-]*(?=,|\s{2,}|$)", tree, re.M)
    patterns = [name for name in shown if "/" in name or "." in name]
    assert len(patterns) > 6
    assert [name for name in patterns if not any(_is_like(name, file) for file in written)] == []


def _is_like(name: str, file: str) -> bool:
    return file.startswith(name) if name.endswith("/") else Path(file).match(name)


def test_the_variables_of_ci_are_those_of_its_files(tmp_path: Path) -> None:
    begin(tmp_path / "desk")
    github = (tmp_path / "desk" / ".github" / "workflows" / "policy.yml").read_text()
    gitlab = (tmp_path / "desk" / ".gitlab-ci.yml").read_text()
    rows = re.findall(r"^\| [^|]+ \| \w+ `(\w+)` \| [\w ]+ `(\w+)` \|$", section("Continuous integration"), re.M)
    assert len(rows) == 3
    for in_github, in_gitlab in rows:
        assert re.search(rf"(secrets|vars)\.{in_github}\b", github)
        assert in_gitlab in gitlab


def test_the_example_of_a_test_holds_for_what_init_writes(tmp_path: Path) -> None:
    begin(tmp_path / "desk")
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.M | re.S)
    assert yaml.safe_load(example)
    (tmp_path / "example.yaml").write_text(example)
    command = ["policy", "test", "-c", "desk/policies/policy.yaml", "example.yaml", "--opa-bin", str(OPA)]
    done = subprocess.run(
        [SIDECAR, *command], cwd=tmp_path, capture_output=True, text=True, timeout=4 * SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name", ["custom-rego", "policy-diff", "policy-sources", "policy-tests", "recording", "try-a-policy"]
)
def test_the_pages_about_each_part_are_named(name: str) -> None:
    assert f"({name}.md)" in TEXT
