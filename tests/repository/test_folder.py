"""Of a repository only its own files are read: regular ones, up to a bound, whatever its links lead to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.errors import PolicyError
from sidecar.policy.custom import CUSTOM
from sidecar.repository.folder import MAX_SIZE, rego_tests, repository, travels
from sidecar.repository.subject import subject
from tests.repository import made
from tests.support import OPA

SECRET = "hunter2"
PLACES = (
    "policies/more.yaml", "rego/custom/data.json", "rego/custom/more.rego", "tests/calls.yaml", "tests/more/calls.yml",
    "tools.json",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made.repository(tmp_path / "policy")


def placed(folder: Path, place: str) -> Path:
    """The path of a place, in whose place nothing is yet."""
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def read(folder: Path) -> None:
    repository(folder)
    rego_tests(folder)


def refusal(folder: Path) -> str:
    with pytest.raises(PolicyError) as caught:
        read(folder)
    (problem,) = caught.value.problems
    assert SECRET not in problem
    return problem


@pytest.mark.parametrize("place", [*PLACES, "rego/custom/more_test.rego"])
@pytest.mark.parametrize("target", ["/dev/zero", "secret", "missing", "policy/.git/config"])
def test_a_link_to_what_is_no_file_of_the_repository_is_refused(folder: Path, place: str, target: str) -> None:
    (folder.parent / "secret").write_text(SECRET)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text(SECRET)
    path = placed(folder, place)
    path.symlink_to(folder.parent / target)
    assert refusal(folder) == (
        f"{path}: leads to {folder.parent / target}, which is no file of the repository: put the file itself there"
    )


@pytest.mark.parametrize("place", ["policies", "rego", "rego/custom", "tests"])
def test_a_link_to_a_folder_elsewhere_is_refused_before_anything_is_looked_for_there(folder: Path, place: str) -> None:
    path = placed(folder, place)
    if path.exists():
        path.rename(folder.parent / "aside")
    path.symlink_to("/")
    assert "leads to /" in refusal(folder)


@pytest.mark.parametrize("place", ["policies/more", "rego/custom/linked", "tests/more/linked"])
def test_a_link_to_a_folder_is_not_passed_over(folder: Path, place: str) -> None:
    (folder / "shared").mkdir()
    placed(folder, place).symlink_to(folder / "shared")
    words = "leads to a folder, and nothing is looked for there: put the folder itself here"
    assert refusal(folder) == f"{folder / place}: {words}"


@pytest.mark.parametrize("place", PLACES)
def test_a_link_within_the_repository_is_followed(folder: Path, place: str) -> None:
    (folder / "shared").write_text('{"tools": []}')
    placed(folder, place).symlink_to(folder / "shared")
    read(folder)


def test_a_repository_may_be_reached_through_a_link_and_a_policy_file_may_be_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert repository(tmp_path / "link").policies == (tmp_path / "link" / "policies" / "pay.yaml",)
    (tmp_path / "policy.yaml").symlink_to(folder / "policies" / "pay.yaml")  # as Kubernetes mounts it
    assert subject(tmp_path / "policy.yaml", OPA).policy is not None


@pytest.mark.parametrize(
    "place", ["rego/custom/data.json", "rego/custom/more.rego", "rego/custom/a_test.rego", "tools.json"]
)
def test_what_is_no_regular_file_is_not_opened(folder: Path, place: str) -> None:
    os.mkfifo(placed(folder, place))
    assert refusal(folder) == f"{folder / place}: cannot be read: it is no regular file but a pipe"


@pytest.mark.parametrize(
    "place", ["rego/custom/data.json", "rego/custom/more.rego", "rego/custom/a_test.rego", "tools.json"]
)
def test_a_file_is_read_up_to_a_bound(folder: Path, place: str) -> None:
    with placed(folder, place).open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    assert refusal(folder) == f"{folder / place}: cannot be read: it is larger than {MAX_SIZE} bytes"


def test_a_file_that_is_not_utf_8_is_named(folder: Path) -> None:
    (folder / "rego" / "custom" / "more.rego").write_bytes(b"# \xff\n")
    assert refusal(folder) == f"{folder}/rego/custom/more.rego: not UTF-8: save it as UTF-8"


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '{"tools": 5}', '{"tools": [5]}', "{"])
def test_what_is_no_list_of_tools_is_told(folder: Path, text: str) -> None:
    (folder / "tools.json").write_text(text)
    assert "no list of tools: write what tools/list answers" in refusal(folder)


def test_the_text_of_rego_is_as_it_stands_with_its_line_ends(folder: Path) -> None:
    (folder / "rego" / "custom" / "sevens.rego").write_bytes(b"# a\r\n# b\r# c\n")
    assert repository(folder).custom.files[f"{CUSTOM}/sevens.rego"] == "# a\r\n# b\r# c\n"


def test_what_travels_is_known_by_its_path() -> None:
    paths = {
        "policies/a.yaml": True, "policies/more/a.yml": True, "policies/a.md": False, "tests/a.yaml": False,
        "rego/custom/a.rego": True, "rego/custom/b/data.json": True, "rego/custom/a_test.rego": False,
        "rego/a.rego": False, "tools.json": False, "policies.yaml": False,
    }  # fmt: skip
    assert {path: travels(path) for path in paths} == paths
