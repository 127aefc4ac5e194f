"""What a bundle is built from: the sources that it carries, and what is read back of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from sidecar.distribution.folder_destination import FolderDestination
from sidecar.distribution.publish import publish
from sidecar.errors import BundleRefused, PolicyError, StartError
from sidecar.policy import archive
from sidecar.policy.bundle import SOURCES, of_commit
from sidecar.repository.build import packed
from sidecar.repository.subject import is_bundle, subject
from tests.repository.made import POLICY, repository
from tests.support import OPA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return repository(tmp_path / "policy")


# A bundle as a subject.


def bundle(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "p.tar.gz"
    path.write_bytes(packed(subject(folder, OPA, serial=4), None, "abc"))
    return path


def test_a_bundle_is_the_policy_that_it_was_built_from(folder: Path, tmp_path: Path) -> None:
    path = bundle(folder, tmp_path)
    built, read = subject(folder, OPA, serial=4), subject(path, OPA)
    assert read.bundle == of_commit(built.bundle, "abc")
    assert read.policy is not None
    assert built.policy is not None
    assert [entry.tool for entry in read.policy.entries] == [entry.tool for entry in built.policy.entries]
    assert read.custom == built.custom
    assert (read.repository, read.warnings) == (None, ())


def test_what_hand_written_rego_may_refuse_is_not_said_to_be_allowed(folder: Path) -> None:
    (folder / "policies" / "pay.yaml").write_text("tools: {pay: {rules: [{action: allow}]}}\n")
    assert subject(folder, OPA).warnings == ()
    (warning,) = subject(folder / "policies" / "pay.yaml", OPA).warnings
    assert "no rule refuses anything" in warning


def repacked(path: Path, sources: str | None) -> None:
    """The bundle with another text of its sources, or none."""
    files = archive.read(path.read_bytes())
    del files[SOURCES]
    path.write_bytes(archive.write(files if sources is None else {**files, SOURCES: sources}))


@pytest.mark.parametrize(
    "sources",
    [
        None, "{}", "[]", '{"policies": []}', '{"policies": [{"file": "pay.yaml", "text": "tools: ["}]}',
        '{"policies": [{"file": "pay.yaml", "text": 5}]}',
        json.dumps({"policies": [{"file": "pay.yaml", "text": POLICY.replace("100", "1000000")}]}),
        json.dumps({"policies": [{"file": "pay.yaml", "text": POLICY}, {"file": "b.yaml", "text": "hide: [x]\n"}]}),
        json.dumps({"policies": [{"file": "other.yaml", "text": POLICY}]}),
    ],
)  # fmt: skip
def test_sources_that_do_not_make_the_rules_of_a_bundle_are_not_believed(
    folder: Path, tmp_path: Path, sources: str | None
) -> None:
    path = bundle(folder, tmp_path)
    repacked(path, sources)
    read = subject(path, OPA)
    assert read.policy is None
    assert read.bundle == of_commit(subject(folder, OPA, serial=4).bundle, "abc")
    (warning,) = read.warnings
    assert warning.startswith(f"{path}: ")


def test_a_bundle_that_no_sidecar_would_admit_is_no_subject(folder: Path, tmp_path: Path) -> None:
    path = bundle(folder, tmp_path)
    files = archive.read(path.read_bytes())
    files["intercept/policy/pay.rego"] = "package intercept\n\ndecision := {}\n"
    path.write_bytes(archive.write(files))
    with pytest.raises(BundleRefused, match=str(path)):
        subject(path, OPA)


def published(folder: Path, place: Path, *serials: int) -> Path:
    """A place to which the policy was published under these serials."""
    for serial in serials:
        data = packed(subject(folder, OPA, serial=serial), None)
        asyncio.run(publish(data, FolderDestination(place), pytest.fail))
    return place


def test_a_folder_that_was_published_to_is_the_bundle_that_sidecars_fetch_from_there(
    folder: Path, tmp_path: Path
) -> None:
    place = published(folder, tmp_path / "place", 1, 2)
    assert is_bundle(place)
    read = subject(place, OPA)
    assert (read.bundle.serial, read.bundle.revision) == (2, subject(folder, OPA).bundle.revision)
    assert read.policy is not None
    (place / "bundle.tar.gz").write_bytes((place / "serial-1.tar.gz").read_bytes())
    assert subject(place, OPA).bundle.serial == 1


def test_a_repository_stays_one_though_a_bundle_lies_in_it(folder: Path) -> None:
    (folder / "bundle.tar.gz").write_bytes(b"\x1f\x8bold")
    assert not is_bundle(folder)
    assert subject(folder, OPA).repository is not None


def test_a_folder_whose_current_bundle_is_none_is_refused_as_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundle.tar.gz").write_text("tools: {}\n")
    with pytest.raises(BundleRefused, match=str(tmp_path / "bundle.tar.gz")):
        subject(tmp_path, OPA)


def test_of_any_other_folder_it_is_said_what_to_name_instead(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(PolicyError, match=r"none: .*a folder; name a policy file, a repository \(.*policies\), or a "):
        subject(tmp_path / "none", OPA)
    for path, text in subject(folder, OPA).bundle.files.items():
        file = tmp_path / "compiled" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with pytest.raises(PolicyError, match=r"compiled: .*what a policy was compiled to.*or the repository"):
        subject(tmp_path / "compiled", OPA)


def test_what_is_no_bundle_is_not_taken_for_one(folder: Path, tmp_path: Path) -> None:
    assert is_bundle(bundle(folder, tmp_path))
    assert not any(map(is_bundle, (folder, tmp_path / "none", folder / "policies" / "pay.yaml", Path("/dev/zero"))))
    (tmp_path / "large.tar.gz").write_bytes(b"\x1f\x8b")
    with (tmp_path / "large.tar.gz").open("r+b") as file:
        file.truncate(1 << 30)
    with pytest.raises(StartError, match="larger than"):
        subject(tmp_path / "large.tar.gz", OPA)
