"""Publishes a release that was built and verified: the image, the tag, and last the packages, which stay for ever.

What is published is a copy that nobody else can write, and that copy is verified. All that can be asked beforehand is
asked before anything is written: credentials, the remote's tags, the registry's. Whoever starts it again after a
failure publishes what is missing: what is there already must be the very same.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.release import image, keys, names
from deploy.release.commands import run
from deploy.release.folder import PUBLISHED, digests
from deploy.release.refused import Refused
from deploy.release.source import Source, entry, git, source_of
from deploy.release.sums import SUMS
from deploy.release.verify import Release, verify
from sidecar.auth.hosts import is_loopback
from sidecar.distribution.oci import reference
from sidecar.distribution.oci.docker_login import login
from sidecar.distribution.oci.reference import OciReference
from sidecar.errors import SourceUnavailable
from sidecar.http import origin
from sidecar.system import temporary_folders

NEEDED: Final = {
    "RELEASE_PUBLIC_KEY": "the file with the public key that verifies the release",
    "UV_PUBLISH_URL": "the address to which `uv publish` uploads",
    "UV_PUBLISH_TOKEN": "the token for that address",
    "IMAGE_REPOSITORY": "where the image goes: HOST/NAME, without a tag",
    "REGISTRY_AUTH_FILE": "the file with the login for that host: `podman login --authfile FILE HOST` writes it",
}
"""What publishing takes from the environment."""
REMOTE: Final = "RELEASE_REMOTE"
"""The git remote that gets the tag, `origin` where it is not given. Its credentials are git's own."""
_NO_REMOTE: Final = re.compile(r"-.*|[^/]*://[^/]*@.*")
"""What git would take for an option, and an address with a password, which every user of this machine could read."""
_LONG: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Access:
    """What the environment gives: values by their names, and what must not be shown."""

    values: Mapping[str, str] = field(repr=False)
    repository: str
    remote: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no output may hold."""
        return (self.values["UV_PUBLISH_TOKEN"],)

    def image(self, tag: str) -> OciReference:
        """The image under a tag or a digest."""
        separator = "@" if tag.startswith("sha256:") else ":"
        return reference.read(f"{reference.SCHEME}{self.repository}{separator}{tag}")


def access(environment: Mapping[str, str]) -> Access:
    """What publishing needs. Raises `Refused` that lists everything missing."""
    missing = [f"{name}: {what}" for name, what in NEEDED.items() if not environment.get(name)]
    if missing:
        raise Refused("nothing was published, for want of:\n" + "\n".join(f"  {line}" for line in missing))
    values = {name: environment[name] for name in NEEDED}
    if _NO_REMOTE.fullmatch(environment.get(REMOTE, "")):
        raise Refused(
            f"nothing was published: {REMOTE} must be the name of a git remote, or an address without a login"
        )
    found = Access(values, values["IMAGE_REPOSITORY"], environment.get(REMOTE) or "origin")
    try:
        index, _ = origin.parse(values["UV_PUBLISH_URL"])
        if not index.secure and not is_loopback(index.host):
            raise ValueError("UV_PUBLISH_URL must begin with https://: everybody on the way could read the token")
        host = found.image(reference.LATEST).registry.host_header
        known = login(Path(values["REGISTRY_AUTH_FILE"]), host)
    except (ValueError, SourceUnavailable) as error:
        raise Refused(f"nothing was published: {error}") from None
    if not known:
        raise Refused(
            "nothing was published, for want of:\n"
            f"  a login for {host} in REGISTRY_AUTH_FILE: `podman login --authfile FILE {host}` writes it"
        )
    return found


def publish(root: Path, folder: Path, given: Access, tell: Callable[[str], None]) -> None:
    """Publish the release in a folder. Raises `Refused`; what was published until then is said by `tell`."""
    here = source_of(root)
    if entry(root, here.version) == "unreleased":
        raise Refused(f"CHANGELOG.md says that {here.version} is unreleased: write the date, commit, and build again")
    with _copy(folder) as own:
        release = verify(own, keys.verification(Path(given.values["RELEASE_PUBLIC_KEY"])), here.commit)
        if len(release.images) != 1:
            raise Refused("the release holds no image: build it again with `make release`")
        _ask_remote(root, here, given)
        _ask_registry(root, release, given)
        tell(f"verified: {here.version} of {here.commit}, signed with {release.signed_with}")
        pinned = _push_image(root, own, release, given)
        (folder / PUBLISHED).unlink(missing_ok=True)  # whatever a link there would lead to
        (folder / PUBLISHED).write_text(f"{pinned}\n", encoding="utf-8")
        tell(f"published {pinned}")
        _push_tag(root, here, given)
        tell(f"published the tag {here.tag}")
        _upload(root, own, release, given)
        tell(f"published {', '.join(names.packages(release.files))}")


@contextmanager
def _copy(folder: Path) -> Iterator[Path]:
    """A copy in a folder that is ours alone: what is verified is what is published."""
    with temporary_folders.folder() as place:
        for name in (*digests(folder), SUMS):
            shutil.copyfile(folder / name, place / name, follow_symlinks=False)
        yield place


def _ask_remote(root: Path, here: Source, given: Access) -> None:
    """Raise `Refused` unless the remote takes the tag, or has it on this commit."""
    said = _git(root, given, "ls-remote", "--tags", given.remote, here.tag, f"{here.tag}^{{}}").splitlines()
    there = {name: commit for commit, _, name in (line.partition("\t") for line in said)}
    commit = there.get(f"refs/tags/{here.tag}^{{}}") or there.get(f"refs/tags/{here.tag}")
    if commit not in (None, here.commit):
        raise Refused(f"{given.remote} has the tag {here.tag} on another commit: a version is released once")
    if commit is None:
        _git(root, given, "push", "--dry-run", "--quiet", given.remote, f"HEAD:refs/tags/{here.tag}")


def _ask_registry(root: Path, release: Release, given: Access) -> None:
    """Raise `Refused` where the tag of the image names another one already."""
    there = image.digest_at(root, _image_at(release, given), given.values["REGISTRY_AUTH_FILE"])
    if there not in ("", release.images[0].digest):
        raise Refused(f"{_image_at(release, given)} is there already, and is another image: a version is released once")


def _push_image(root: Path, own: Path, release: Release, given: Access) -> str:
    (ours,) = release.images
    image.push(root, own / ours.archive, _image_at(release, given), given.values["REGISTRY_AUTH_FILE"], ours.digest)
    return str(given.image(ours.digest)).removeprefix(reference.SCHEME)


def _push_tag(root: Path, here: Source, given: Access) -> None:
    if not git(root, "tag", "--list", here.tag):
        _git(root, given, "tag", "--annotate", "--message", f"intercept-sidecar {here.version}", here.tag, here.commit)
    _git(root, given, "push", "--quiet", given.remote, f"refs/tags/{here.tag}")


def _upload(root: Path, own: Path, release: Release, given: Access) -> None:
    ours = root / ".tools" / "uv" / "bin" / "uv"
    uv = ours if ours.exists() else Path("uv")
    files = [own / name for name in names.packages(release.files)]
    run(
        # No configuration: uv would read one in any folder above, as /tmp, where everybody may leave one.
        [uv, "publish", "--no-config", "--trusted-publishing", "never", *files],
        own, seconds=_LONG, secrets=given.secrets,
        environment={name: given.values[name] for name in ("UV_PUBLISH_URL", "UV_PUBLISH_TOKEN")},
    )  # fmt: skip


def _image_at(release: Release, given: Access) -> OciReference:
    """Where the image goes: a tag with the architecture in it, as each is built on a machine of its own."""
    return given.image(f"{release.source.version}-{release.images[0].architecture}")


def _git(root: Path, given: Access, *words: str) -> str:
    return run(
        ["git", *words], root, seconds=_LONG, secrets=given.secrets, environment={"GIT_TERMINAL_PROMPT": "0"}
    )  # fmt: skip
