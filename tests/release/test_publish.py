"""A release is published whole, to a real index, a real registry and a real git remote, or not at all."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from deploy.release.folder import PUBLISHED
from deploy.release.image import manifest_digest
from deploy.release.publish import NEEDED, access, publish
from deploy.release.refused import Refused
from deploy.release.source import source_of
from tests.release import small
from tests.release.small import IMAGE, SDIST, WHEEL, Keys, add_up, checkout, commit, git
from tests.support import ROOT
from tests.support.package_index import package_index
from tests.support.registry import registry

pytestmark = pytest.mark.slow

TOKEN: Final = "token-that-nobody-may-see"
PASSWORD: Final = "for-tests"
HTPASSWD: Final = "robot:$2b$05$2jKGHKY9Cbiz8myIdbagkOVGylYferrY4z66WBa/qP6Qq0ig.fUIy\n"
LOGIN: Final = "auth: {htpasswd: {realm: tests, path: '{folder}/htpasswd'}}"


@dataclass(frozen=True, slots=True)
class Places:
    """Where a release goes, and what is needed for it."""

    packages: Path
    registry: str
    repository: str
    remote: Path
    environment: Mapping[str, str]


@dataclass(slots=True)
class Maintainer:
    """Somebody with a checkout, a key and a release."""

    root: Path
    keys: Keys
    folder: Path
    said: list[str] = field(default_factory=list)

    def publish(self, environment: Mapping[str, str]) -> None:
        """Publish the release."""
        publish(self.root, self.folder, access(environment), self.said.append)

    def refusal(self, environment: Mapping[str, str]) -> str:
        """Why it is not published."""
        with pytest.raises(Refused) as caught:
            self.publish(environment)
        assert TOKEN not in f"{caught.value}{self.said}"
        return str(caught.value)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """The folder and the address of an index, and the address of a registry."""
    folder = tmp_path_factory.mktemp("servers")
    (folder / "registry").mkdir()
    (folder / "registry" / "htpasswd").write_text(HTPASSWD)
    with package_index(folder / "index", TOKEN) as index, registry(folder / "registry", LOGIN) as address:
        yield folder / "index", index, address


@pytest.fixture
def places(servers: tuple[Path, str, str], tmp_path: Path) -> Iterator[Places]:
    packages, index, address = servers
    remote, login = tmp_path / "remote.git", tmp_path / "login.json"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True, timeout=60)
    login.write_text(logins(address))
    repository = f"test-{uuid.uuid4().hex}/sidecar"
    environment = {
        "UV_PUBLISH_URL": index, "UV_PUBLISH_TOKEN": TOKEN, "IMAGE_REPOSITORY": f"{address}/{repository}",
        "REGISTRY_AUTH_FILE": str(login), "RELEASE_PUBLIC_KEY": str(tmp_path / "keys" / "release.pub"),
    }  # fmt: skip
    yield Places(packages, address, repository, remote, environment)
    for path in packages.iterdir():
        path.unlink()


@pytest.fixture
def maintainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maintainer:
    for name, value in (("NAME", "Tests"), ("EMAIL", "tests@example.com")):
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
    monkeypatch.setenv("PATH", f"{ROOT / '.tools' / 'uv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    root = checkout(tmp_path / "checkout")
    git(root, "remote", "add", "origin", str(tmp_path / "remote.git"))
    return ready(root, Keys(tmp_path / "keys"), tmp_path / "release")


def ready(root: Path, pair: Keys, folder: Path) -> Maintainer:
    """A maintainer with a release of the commit that the checkout has."""
    return Maintainer(root, pair, small.release(folder, pair.signing, source_of(root)))


def logins(host: str, password: str = PASSWORD) -> str:
    """The login for a registry, as `podman login` writes it."""
    return json.dumps({"auths": {host: {"auth": base64.b64encode(f"robot:{password}".encode()).decode()}}})


def manifest(places: Places, reference: str) -> str | None:
    """The digest that the registry has under a tag or a digest."""
    asked = urllib.request.Request(
        f"http://{places.registry}/v2/{places.repository}/manifests/{reference}", method="HEAD"
    )
    asked.add_header("Accept", "application/vnd.oci.image.manifest.v1+json")
    asked.add_header("Authorization", f"Basic {base64.b64encode(f'robot:{PASSWORD}'.encode()).decode()}")
    try:
        with urllib.request.urlopen(asked, timeout=15) as reply:
            return str(reply.headers["docker-content-digest"])
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


def nothing_is_published(places: Places) -> bool:
    """True where index, registry and remote are as they were."""
    tags = subprocess.run(["git", "tag"], cwd=places.remote, capture_output=True, text=True, timeout=60, check=True)
    return not list(places.packages.iterdir()) and not tags.stdout and manifest(places, "0.2.0-amd64") is None


def test_a_release_is_published_to_registry_remote_and_index(places: Places, maintainer: Maintainer) -> None:
    maintainer.publish(places.environment)
    digest = manifest_digest(maintainer.folder / IMAGE)
    assert manifest(places, "0.2.0-amd64") == manifest(places, digest) == digest
    assert (maintainer.folder / PUBLISHED).read_text() == f"{places.registry}/{places.repository}@{digest}\n"
    assert git(places.remote, "rev-parse", "v0.2.0^{commit}") == git(maintainer.root, "rev-parse", "HEAD")
    for name in (WHEEL, SDIST):
        assert (places.packages / name).read_bytes() == (maintainer.folder / name).read_bytes()
    assert {path.name for path in places.packages.iterdir()} == {WHEEL, SDIST}


def test_what_lies_above_the_copy_configures_nothing(
    places: Places, maintainer: Maintainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "uv.toml").write_text('publish-url = "http://127.0.0.1:1/"\ncheck-url = "http://127.0.0.1:1/"\n')
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    maintainer.publish(places.environment)
    assert {path.name for path in places.packages.iterdir()} == {WHEEL, SDIST}


def test_no_program_but_uv_gets_the_token(
    places: Places, maintainer: Maintainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = maintainer.root / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nenv >>'{tmp_path}/seen'\n")
    hook.chmod(0o755)
    monkeypatch.setenv("UV_PUBLISH_TOKEN", TOKEN)
    maintainer.publish(places.environment)
    seen = (tmp_path / "seen").read_text()
    assert "PATH=" in seen
    assert TOKEN not in seen


@pytest.mark.parametrize("remote", [f"https://me:{TOKEN}@git.example.com/x.git", "--upload-pack=evil"])
def test_a_remote_that_others_could_read_a_password_of_is_refused(
    places: Places, maintainer: Maintainer, remote: str
) -> None:
    said = maintainer.refusal({**places.environment, "RELEASE_REMOTE": remote})
    assert said.startswith("nothing was published: RELEASE_REMOTE must be ")
    assert nothing_is_published(places)


def test_what_was_published_is_found_again_and_not_written_twice(places: Places, maintainer: Maintainer) -> None:
    maintainer.publish(places.environment)
    for name in (WHEEL, SDIST):
        (places.packages / name).unlink()  # as if the index had failed
    maintainer.publish(places.environment)
    assert {path.name for path in places.packages.iterdir()} == {WHEEL, SDIST}


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_credential_that_is_missing_is_named_and_nothing_published(
    places: Places, maintainer: Maintainer, name: str
) -> None:
    given = {key: value for key, value in places.environment.items() if key != name}
    said = maintainer.refusal(given)
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == [name]
    assert nothing_is_published(places)


def test_without_any_credential_all_are_named(maintainer: Maintainer) -> None:
    said = maintainer.refusal({})
    assert said.startswith("nothing was published, for want of:")
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == list(NEEDED)


def test_a_login_for_another_registry_is_none(places: Places, maintainer: Maintainer) -> None:
    Path(places.environment["REGISTRY_AUTH_FILE"]).write_text(logins("registry.example.com"))
    assert f"a login for {places.registry} in REGISTRY_AUTH_FILE" in maintainer.refusal(places.environment)
    assert nothing_is_published(places)


@pytest.mark.parametrize("repository", ["https://example.com/x", "example.com", "example.com/x:1", "example.com/X"])
def test_a_repository_that_is_none_is_refused(places: Places, maintainer: Maintainer, repository: str) -> None:
    given = {**places.environment, "IMAGE_REPOSITORY": repository}
    assert maintainer.refusal(given).startswith("nothing was published: ")


@pytest.mark.parametrize(
    "address",
    ["http://index.example.com/legacy/", "index.example.com", f"https://__token__:{TOKEN}@index.example.com/"],
)
def test_an_index_to_which_the_token_would_travel_in_the_open_gets_nothing(
    places: Places, maintainer: Maintainer, address: str
) -> None:
    said = maintainer.refusal({**places.environment, "UV_PUBLISH_URL": address})
    assert said.startswith("nothing was published: ")
    assert nothing_is_published(places)


def test_a_link_where_the_address_of_the_image_goes_is_not_followed(
    places: Places, maintainer: Maintainer, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("precious")
    (maintainer.folder / PUBLISHED).symlink_to(tmp_path / "precious")
    maintainer.publish(places.environment)
    assert (tmp_path / "precious").read_text() == "precious"
    assert "@sha256:" in (maintainer.folder / PUBLISHED).read_text()


def test_a_wrong_password_for_the_registry_publishes_nothing(places: Places, maintainer: Maintainer) -> None:
    Path(places.environment["REGISTRY_AUTH_FILE"]).write_text(logins(places.registry, "secret-and-wrong"))
    said = maintainer.refusal(places.environment)
    assert said.startswith("skopeo inspect failed: ")
    assert "secret-and-wrong" not in said
    assert nothing_is_published(places)


def test_a_remote_that_cannot_be_reached_publishes_nothing(places: Places, maintainer: Maintainer) -> None:
    git(maintainer.root, "remote", "set-url", "origin", f"http://somebody:{TOKEN}@127.0.0.1:1/nowhere.git")
    assert maintainer.refusal(places.environment).startswith("git ls-remote failed: ")
    assert nothing_is_published(places)


def test_a_wrong_token_is_not_shown(places: Places, maintainer: Maintainer) -> None:
    said = maintainer.refusal({**places.environment, "UV_PUBLISH_TOKEN": "another-that-nobody-may-see"})
    assert said.startswith("uv publish failed: ")
    assert "another-that-nobody-may-see" not in said
    assert list(places.packages.iterdir()) == []


@pytest.mark.parametrize("name", [WHEEL, SDIST, IMAGE])
def test_a_file_that_was_changed_is_published_nowhere(places: Places, maintainer: Maintainer, name: str) -> None:
    (maintainer.folder / name).write_bytes(small.image(b"eve") if name == IMAGE else b"eve")
    add_up(maintainer.folder)
    assert maintainer.refusal(places.environment).startswith(name)
    assert nothing_is_published(places)


def test_an_unsigned_release_is_published_nowhere(places: Places, maintainer: Maintainer, tmp_path: Path) -> None:
    maintainer.folder = small.release(tmp_path / "unsigned", None, source_of(maintainer.root))
    assert "is not signed" in maintainer.refusal(places.environment)
    assert nothing_is_published(places)


def test_a_release_of_another_commit_is_published_nowhere(places: Places, maintainer: Maintainer) -> None:
    before = git(maintainer.root, "rev-parse", "HEAD")
    after = commit(maintainer.root)
    said = maintainer.refusal(places.environment)
    assert f"is of commit {before}, not of {after}" in said
    assert nothing_is_published(places)


def test_a_release_that_the_changelog_calls_unreleased_is_published_nowhere(places: Places, tmp_path: Path) -> None:
    root = checkout(tmp_path / "checkout", changelog="## 0.2.0 - unreleased\n")
    maintainer = ready(root, Keys(tmp_path / "keys"), tmp_path / "release")
    assert "CHANGELOG.md says that 0.2.0 is unreleased" in maintainer.refusal(places.environment)
    assert nothing_is_published(places)


def test_a_release_without_an_image_is_published_nowhere(places: Places, maintainer: Maintainer) -> None:
    for path in maintainer.folder.glob("*-image-*"):
        path.unlink()
    add_up(maintainer.folder)
    assert "holds no image" in maintainer.refusal(places.environment)
    assert nothing_is_published(places)


def test_a_tag_that_the_remote_has_on_another_commit_publishes_nothing(
    places: Places, maintainer: Maintainer, tmp_path: Path
) -> None:
    other = checkout(tmp_path / "other", changelog="## 0.2.0 - 2026-11-01\n")
    git(other, "push", "--quiet", str(places.remote), "HEAD:refs/tags/v0.2.0")
    said = maintainer.refusal(places.environment)
    assert said.startswith("origin has the tag v0.2.0 on another commit")
    assert list(places.packages.iterdir()) == []
    assert manifest(places, "0.2.0-amd64") is None


def test_an_image_of_this_version_that_is_another_one_stays(
    places: Places, maintainer: Maintainer, tmp_path: Path
) -> None:
    maintainer.publish(places.environment)
    (tmp_path / "image.tar").write_bytes(small.image(b"eve"))
    copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"--dest-creds=robot:{PASSWORD}"]
    place = f"docker://{places.registry}/{places.repository}:0.2.0-amd64"
    subprocess.run([*copy, f"oci-archive:{tmp_path / 'image.tar'}", place], check=True, timeout=60)
    there = manifest(places, "0.2.0-amd64")
    assert "is there already, and is another image" in maintainer.refusal(places.environment)
    assert manifest(places, "0.2.0-amd64") == there


def test_make_says_which_credentials_are_missing(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in NEEDED}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.release", "publish", str(tmp_path)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("release: nothing was published, for want of:\n  RELEASE_PUBLIC_KEY: ")
    assert shutil.which("skopeo"), "no skopeo: make skopeo"
