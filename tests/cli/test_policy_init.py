"""`sidecar policy init`, and the steps of the CI files that it writes, each run as CI would run it.

The steps run in a clone, with a real base branch. What installs the package is checked by itself, and left out of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from tests.cli.test_policy_commands import sidecar
from tests.support import SIDECAR

INSTALL = "ci/install"
WHEEL = f"https://host/intercept_sidecar-0.2.0-py3-none-any.whl#sha256={'0123456789abcdef' * 4}"
CLONED = f"git+https://host/sidecar@{'0123456789' * 4}"
LABEL = re.compile(r"adds the label (loosens-[0-9a-f]{40})\.")


@dataclass(frozen=True, slots=True)
class Ran:
    """What the steps of a pipeline said until one failed, and how the last ended."""

    status: int
    said: str


def run(command: list[str], folder: Path, env: Mapping[str, str]) -> Ran:
    environment = {
        "PATH": f"{SIDECAR.parent}:{os.defpath}", "HOME": str(folder.parent), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
        "GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "n@example.com", "GIT_COMMITTER_NAME": "n",
        "GIT_COMMITTER_EMAIL": "n@example.com", **env,
    }  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=250,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout)


def git(folder: Path, *words: str) -> str:
    ran = run(["git", *words], folder, {})
    assert ran.status == 0, ran.said
    return ran.said.strip()


class Pipeline(Protocol):
    """One CI system: what it runs for a change that is proposed, and for one that is merged."""

    def proposed(self, clone: Path, labels: str = "") -> Ran: ...

    def merged(self, clone: Path, number: int, key: str, destination: str) -> Ran: ...


class GitHub:
    """Runs the steps of the workflow in order, as `bash -e` does."""

    def proposed(self, clone: Path, labels: str = "") -> Ran:
        base = git(clone, "rev-parse", "origin/main")
        joined = "join(github.event.pull_request.labels.*.name, ',')"
        return self._jobs(clone, "pull_request", {"github.event.pull_request.base.sha": base, joined: labels})

    def merged(self, clone: Path, number: int, key: str, destination: str) -> Ran:
        known = {
            "github.run_number": str(number), "github.sha": git(clone, "rev-parse", "HEAD"),
            "secrets.POLICY_KEY": key, "vars.POLICY_DEST": destination, "secrets.POLICY_TOKEN": "",
        }  # fmt: skip
        return self._jobs(clone, "push", known)

    def _jobs(self, clone: Path, event: str, known: dict[str, str]) -> Ran:
        conditions = {
            "always()": True,
            **{f"github.event_name == '{one}'": one == event for one in ("push", "pull_request")},
        }
        workflow = yaml.load((clone / ".github/workflows/policy.yml").read_text(), Loader=yaml.BaseLoader)
        assert event in workflow["on"]
        said = ""
        for job in workflow["jobs"].values():
            if not conditions[job.get("if", "always()")]:
                continue
            for step in job["steps"]:
                if "run" not in step or not conditions[step.get("if", "always()")]:
                    assert "run" in step or "uses" in step
                    continue
                env = {
                    name: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known[found[1]], text)
                    for name, text in step.get("env", {}).items()
                }
                summary = str(clone.parent / "summary.md")
                ran = run(
                    ["bash", "-e", "-c", without_install(step["run"])], clone, {**env, "GITHUB_STEP_SUMMARY": summary}
                )
                said += ran.said
                if ran.status:
                    return Ran(ran.status, said)
        return Ran(0, said)


class GitLab:
    """Runs the scripts of the jobs of a pipeline, each as one, stage by stage."""

    def proposed(self, clone: Path, labels: str = "") -> Ran:
        variables = {
            "CI_PIPELINE_SOURCE": "merge_request_event", "CI_DEFAULT_BRANCH": "main",
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": git(clone, "merge-base", "origin/main", "HEAD"),
        } | ({"CI_MERGE_REQUEST_LABELS": labels} if labels else {})  # fmt: skip
        return self._jobs(clone, variables)

    def merged(self, clone: Path, number: int, key: str, destination: str) -> Ran:
        variables = {
            "CI_PIPELINE_SOURCE": "push", "CI_DEFAULT_BRANCH": "main", "CI_COMMIT_BRANCH": "main",
            "CI_PIPELINE_IID": str(number), "CI_COMMIT_SHA": git(clone, "rev-parse", "HEAD"),
            **{name: text for name, text in {"POLICY_KEY": key, "POLICY_DEST": destination}.items() if text},
        }  # fmt: skip
        return self._jobs(clone, variables)

    def _jobs(self, clone: Path, variables: dict[str, str]) -> Ran:
        file = yaml.load((clone / ".gitlab-ci.yml").read_text(), Loader=yaml.BaseLoader)
        jobs = [job for name, job in file.items() if name not in ("default", "stages")]
        said = ""
        for job in sorted(jobs, key=lambda job: file["stages"].index(job["stage"])):
            if any(self._holds(rule["if"], variables) for rule in job["rules"]):
                lines = "\n".join([*file["default"]["before_script"], *job["script"]])
                ran = run(
                    ["bash", "-eo", "pipefail", "-c", without_install(lines)],
                    clone,
                    {**variables, **job.get("variables", {})},
                )
                said += ran.said
                if ran.status:
                    return Ran(ran.status, said)
        return Ran(0, said)

    @staticmethod
    def _holds(condition: str, variables: Mapping[str, str]) -> bool:
        left, right = condition.split(" == ")
        values = [
            part.strip('"') if part.startswith('"') else variables.get(part.removeprefix("$")) for part in (left, right)
        ]
        return values[0] == values[1]


def without_install(script: str) -> str:
    """The script without the line that installs the package, which must be there where it is all of a step."""
    lines = script.splitlines()
    assert not re.search(r"\b(pip|pipx|uv|uvx)\b", script)
    return "\n".join(line for line in lines if line.strip() != INSTALL)


@pytest.fixture(params=[GitHub, GitLab])
def ci(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a repository as `init` writes it, on a branch of its own."""
    origin = tmp_path / "origin"
    assert sidecar(tmp_path, "policy", "init", str(origin)).status == 0
    git(origin, "init", "--quiet", "--initial-branch=main")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message=Begin")
    git(tmp_path, "clone", "--quiet", str(origin), "clone")
    git(tmp_path / "clone", "checkout", "--quiet", "-b", "change")
    return tmp_path / "clone"


def private_key() -> str:
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def edit(clone: Path, file: str, old: str, new: str) -> None:
    text = (clone / file).read_text()
    assert old in text
    (clone / file).write_text(text.replace(old, new))
    git(clone, "commit", "--quiet", "--all", f"--message=Edit {file}")


def most(clone: Path, amount: int, before: int = 1000) -> None:
    """Change the amount that an order may have, and the test that shows it."""
    edit(clone, "policies/policy.yaml", f"op: lte, value: {before}", f"op: lte, value: {amount}")
    edit(clone, "tests/policy.yaml", f"amount: {before}.01", f"amount: {amount}.01")


def test_what_init_writes_passes_its_own_tests_and_they_leave_nothing_unshown(tmp_path: Path) -> None:
    done = sidecar(tmp_path, "policy", "init", "new")
    assert (done.status, done.errors) == (0, [])
    assert "new/policies/policy.yaml" in done.out.splitlines()
    tested = sidecar(tmp_path, "policy", "test", "new", "--strict")
    assert (tested.status, tested.errors) == (0, [])
    assert tested.out.splitlines()[-1] == "6 cases, 16 steps: all as expected"
    assert sidecar(tmp_path, "validate", "-c", "new/policies/policy.yaml").status == 0


def test_init_writes_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = sidecar(tmp_path, "policy", "init", ".")
    assert (done.status, done.out) == (2, "")
    assert "is not empty: name a folder that is missing or empty" in done.errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_hook_runs_the_tests(clone: Path) -> None:
    (repo,) = yaml.safe_load((clone / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repo["hooks"]
    changed = ["policies/a.yaml", "rego/custom/a.rego", "tests/a.yaml", "tools.json", "README.md"]
    assert [name for name in changed if re.search(hook["files"], name)] == changed[:-1]
    assert run(hook["entry"].split(), clone, {}).status == 0
    edit(clone, "policies/policy.yaml", "op: lte, value: 1000", "op: lte, value: 2000")
    assert run(hook["entry"].split(), clone, {}).status == 1


def installed(folder: Path, package: str | None) -> Ran:
    """What `ci/install` says, with a `pip` that tells its arguments, one a line."""
    assert (folder / "policy").is_dir() or sidecar(folder, "policy", "init", "policy").status == 0
    pip = folder / "bin" / "pip"
    pip.parent.mkdir(exist_ok=True)
    pip.write_text('#!/bin/sh\nprintf "%s\\n" pip "$@"\n')
    pip.chmod(0o755)
    known = {} if package is None else {"SIDECAR_PACKAGE": package}
    return run([INSTALL], folder / "policy", {"PATH": f"{pip.parent}:{os.defpath}", **known})


@pytest.mark.parametrize(
    "package", [WHEEL, CLONED, CLONED.replace("https", "ssh"), CLONED + "0123456789abcdef01234567"]
)
def test_what_the_variable_names_is_installed(tmp_path: Path, package: str) -> None:
    assert installed(tmp_path, package) == Ran(0, f"pip\ninstall\n{package}\n")


@pytest.mark.parametrize("package", [None, ""])
def test_nothing_is_installed_where_no_package_is_named(tmp_path: Path, package: str | None) -> None:
    said = "The variable SIDECAR_PACKAGE is not set: set it to what ci/install says.\n"
    assert installed(tmp_path, package) == Ran(1, said)


@pytest.mark.parametrize(
    "package",
    [
        "intercept-sidecar", "intercept-sidecar==0.2.0", ".", "-r evil.txt", "intercept-sidecar @ " + WHEEL,
        WHEEL.partition("#")[0], WHEEL[:-1], WHEEL.replace("https", "http"), CLONED[:-1], CLONED[:-40] + "main",
        CLONED.replace("https", "http"), f"{WHEEL} other", f"other\n{WHEEL}", f"{CLONED}#egg=other",
    ],
)  # fmt: skip
def test_a_package_that_could_become_another_is_refused_and_not_shown(tmp_path: Path, package: str) -> None:
    ran = installed(tmp_path, package)
    assert ran.status == 1
    assert ran.said.startswith("SIDECAR_PACKAGE must be git+https://HOST/PATH@COMMIT, with all 40 digits of a commit,")
    assert "\npip" not in ran.said
    assert "other" not in ran.said


def test_every_job_installs_that_and_nothing_else(tmp_path: Path) -> None:
    assert sidecar(tmp_path, "policy", "init", "policy").status == 0
    workflow = yaml.safe_load((tmp_path / "policy/.github/workflows/policy.yml").read_text())
    assert workflow["env"] == {"SIDECAR_PACKAGE": "${{ vars.SIDECAR_PACKAGE }}"}
    for job in workflow["jobs"].values():
        scripts = [step["run"] for step in job["steps"] if "run" in step]
        assert (scripts[0], [script for script in scripts if "pip" in script]) == (INSTALL, [])
    gitlab = yaml.safe_load((tmp_path / "policy/.gitlab-ci.yml").read_text())
    assert gitlab["default"]["before_script"] == [INSTALL]
    assert "pip" not in str({name: job for name, job in gitlab.items() if name != "stages"}).replace("pipeline", "")
    programs = [
        path for path in (tmp_path / "policy").rglob("*") if path.is_file() and "pip install" in path.read_text()
    ]
    assert sorted(path.name for path in programs) == ["README.md", "install"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_change_of_something_else_passes(clone: Path, ci: Pipeline) -> None:
    edit(clone, "README.md", "# Policy", "# Our policy")
    ran = ci.proposed(clone)
    assert ran.status == 0, ran.said
    assert "6 cases, 16 steps: all as expected" in ran.said
    assert (clone / "report.xml").is_file()
    assert git(clone, "status", "--porcelain") == ""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_change_that_fails_a_test_is_stopped(clone: Path, ci: Pipeline) -> None:
    edit(clone, "policies/policy.yaml", "op: lte, value: 1000", "op: lte, value: 2000")
    ran = ci.proposed(clone)
    assert ran.status == 1
    assert "FAILED  small orders pass, and others do not" in ran.said
    assert not (clone / "diff.md").exists()
    assert "<failure" in (clone / "report.xml").read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_stricter_change_passes_and_is_told(clone: Path, ci: Pipeline) -> None:
    most(clone, 600)
    ran = ci.proposed(clone)
    assert ran.status == 0, ran.said
    assert "`place_order`" in (clone / "diff.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_refusal_that_becomes_a_permission_is_stopped_until_somebody_agrees_to_this_very_change(
    clone: Path, ci: Pipeline
) -> None:
    most(clone, 2000)
    ran = ci.proposed(clone)
    assert ran.status == 4
    (label,) = LABEL.findall(ran.said)
    assert f"adds the label {label}." in (clone / "diff.md").read_text()
    ran = ci.proposed(clone, f"reviewed,{label},other")
    assert (ran.status, f"somebody agreed: the label {label} is there" in ran.said) == (0, True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_agreement_is_good_for_one_change_only(clone: Path) -> None:
    most(clone, 2000)
    first = run(["ci/compare", "origin/main"], clone, {})
    (label,) = LABEL.findall(first.said)
    most(clone, 3000, before=2000)
    ran = run(["ci/compare", "origin/main", f"{label},x{label}"], clone, {})
    assert (first.status, ran.status) == (4, 4)
    (other,) = LABEL.findall(ran.said)
    assert other != label
    assert run(["ci/compare", "origin/main", f"{other}x,x{other}"], clone, {}).status == 4


@pytest.mark.parametrize("place", ["policies", "policies/more.yaml", "rego/custom/data.json"])
def test_no_link_stands_in_for_a_file_of_the_policy(clone: Path, place: str) -> None:
    # What it leads to could change after somebody agreed.
    aside = clone / "aside"
    aside.mkdir()
    (aside / "policy.yaml").write_text("default: allow\n")
    if (clone / place).exists():
        (clone / place).rename(aside / "before")
    (clone / place).symlink_to(aside if place == "policies" else aside / "policy.yaml")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "a link")
    ran = run(["ci/compare", "origin/main"], clone, {})
    assert (ran.status, place in ran.said, "These are links" in ran.said) == (1, True, True)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_is_merged_is_signed_and_published_once_for_each_run(clone: Path, ci: Pipeline, tmp_path: Path) -> None:
    key = private_key()
    published = tmp_path / "published"
    published.mkdir()
    ran = ci.merged(clone, 7, key, str(published))
    assert ran.status == 0, ran.said
    assert "serial 7" in ran.said
    assert sorted(path.name for path in published.glob("*.gz")) == ["bundle.tar.gz", "serial-7.tar.gz"]
    with tarfile.open(published / "bundle.tar.gz") as bundle:
        assert ".signatures.json" in bundle.getnames()
    most(clone, 600)
    assert ci.merged(clone, 8, key, str(published)).status == 0
    ran = ci.merged(clone, 7, key, str(published))
    assert ran.status != 0
    assert "all as expected" in ran.said


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("missing", ["key", "destination"])
def test_nothing_is_published_without_a_key_or_a_destination(clone: Path, ci: Pipeline, missing: str) -> None:
    key = private_key()
    published = clone.parent / "published"
    published.mkdir()
    ran = ci.merged(clone, 7, "" if missing == "key" else key, "" if missing == "destination" else str(published))
    assert ran.status != 0
    assert {"key": "POLICY_KEY", "destination": "POLICY_DEST"}[missing] in ran.said
    assert list(published.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_first_change_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet", "--initial-branch=main")
    git(origin, "commit", "--quiet", "--allow-empty", "--message=Begin")
    assert sidecar(tmp_path, "policy", "init", "new").status == 0
    for path in (tmp_path / "new").iterdir():
        path.rename(origin / path.name)
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message=Policy")
    ran = run(["ci/compare", "main~1"], origin, {})
    assert (ran.status, ran.said) == (0, "main~1 has no policy, so there is nothing to compare with.\n")
    assert run(["ci/compare", "nowhere"], origin, {}).status != 0
    assert git(origin, "worktree", "list").count("\n") == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_commands_of_its_readme_do_what_they_say(clone: Path) -> None:
    text = (clone / "README.md").read_text()
    (clone.parent / "policy").mkdir()
    first, second = (block.splitlines() for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    assert (first[0].split("#")[0].strip(), first[-1].split("#")[0].strip()) == (INSTALL, "pre-commit install")
    assert second[-1].startswith("sidecar run --bundle /srv/policy --bundle-key public.pem -- ")
    for line in (*first[1:-1], *second[:-1]):
        ran = run(
            [
                "bash",
                "-e",
                "-c",
                line.replace("/srv/policy", "../policy").replace("compare main", "compare origin/main"),
            ],
            clone,
            {},
        )
        assert ran.status == 0, (line, ran.said)
    assert (clone.parent / "policy" / "serial-1.tar.gz").is_file()
    assert git(clone, "status", "--porcelain") == ""
