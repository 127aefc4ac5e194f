"""Builds a release into a folder: packages, image, SBOMs, provenance, sums.

All is made in a new folder beside the target, which takes its place at the end: there is never half a release. The same
commit, tools and environment give the same packages, SBOMs of wheels and provenance of them, byte for byte.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from deploy.release import contents, envelope, image, image_sbom, materials, names, statement, sums
from deploy.release.commands import run
from deploy.release.folder import PUBLISHED, content, digest, digests
from deploy.release.refused import Refused
from deploy.release.source import Source, source_of
from deploy.release.statement import Statement
from sidecar.engine.sign import SigningKey

_LOCAL_BASE: Final = "localhost/intercept-base:bookworm"
"""The base that deploy/build-image makes where none is named."""
_LONG: Final = 3600.0


def build(
    root: Path, target: Path, source: Source, key: SigningKey | None, tell: Callable[[str], None], *,
    architectures: Sequence[str] = tuple(names.MACHINES.values()), with_image: bool = True, base: str = "",
) -> None:  # fmt: skip
    """Build the release of a checkout. `base` names what the image is built on. Raises `Refused`."""
    if target.exists() and not _is_release(target):
        raise Refused(f"{target} is there, and is no release that could be replaced: name another folder, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".release-", dir=target.parent))
    try:
        _packages(root, place, source, key, tell, architectures)
        if with_image:
            _image(root, place, source, key, tell, base)
        (place / sums.SUMS).write_text(sums.written(digests(place)), encoding="ascii")
        place.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        place.rename(target)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _is_release(folder: Path) -> bool:
    """Whether nothing is lost with a folder but what a release consists of."""
    try:
        known = {sums.SUMS, PUBLISHED, *sums.read(content(folder, sums.SUMS).decode("ascii"))}
        return {path.name for path in folder.iterdir()} <= known
    except (Refused, UnicodeDecodeError, NotADirectoryError):
        return False


def _packages(
    root: Path, place: Path, source: Source, key: SigningKey | None, tell: Callable[[str], None],
    architectures: Sequence[str],
) -> None:  # fmt: skip
    environment = {"SOURCE_DATE_EPOCH": str(source.seconds), "DIST": str(place)}
    tell(f"building the wheels for {' and '.join(architectures)}; OPA takes minutes where it was not built yet")
    run([root / "deploy" / "wheel" / "build", *architectures], root, seconds=_LONG, environment=environment, shown=True)
    _must_be_as_it_was(root, source)
    tell("building the sdist")
    hatchling = root / ".venv" / "bin" / "hatchling"
    run([hatchling, "build", "--target", "sdist", "--directory", place], root, environment=environment)
    _must_be_as_it_was(root, source)
    (place / ".gitignore").unlink(missing_ok=True)  # hatchling leaves one where it makes the folder
    contents.check(root, source, [place / name for name in names.packages(digests(place))])
    carried = {path: materials.carried(path) for path in sorted(place.glob("*.whl"))}
    materials.check_opa(root, carried)
    for path, inside in carried.items():
        (place / names.sbom(source.version, names.of_wheel(path.name))).write_bytes(inside.sbom)
    made = digests(place)
    if len(names.packages(made)) != len(architectures) + 1 or not all(
        f"-{source.version}" in name for name in made
    ):  # fmt: skip
        raise Refused(f"what was built is not {source.version}: {', '.join(made)}; set the environment up again")
    said = Statement(
        "packages", source, made, materials.of_packages(root, carried.values()), materials.tools(root)
    )  # fmt: skip
    (place / names.provenance(source.version)).write_bytes(envelope.sealed(statement.written(said), key))


def _image(
    root: Path, place: Path, source: Source, key: SigningKey | None, tell: Callable[[str], None], base: str
) -> None:  # fmt: skip
    tell("building the image; its base takes minutes where none is named and it was not made yet")
    run(
        [root / "deploy" / "build-image"], root, seconds=_LONG, shown=True,
        environment={"DIST": str(place), "BASE": base, "SOURCE_DATE_EPOCH": str(source.seconds), "FOR_RELEASE": "1"},
    )  # fmt: skip
    _must_be_as_it_was(root, source)
    here = names.architecture()
    (wheel,) = [path for path in place.glob("*.whl") if names.of_wheel(path.name) == here]
    reference = f"localhost/intercept-sidecar-release:{source.version}"
    archive = place / names.archive(source.version, here)
    manifest = image.save(root, reference, archive)
    sbom = place / names.image_sbom(source.version, here)
    sbom.write_bytes(image_sbom.of_image(root, reference, materials.carried(wheel).sbom, manifest))
    subjects = {path.name: digest(path) for path in (archive, sbom)}
    subjects[names.manifest(source.version, here)] = manifest.removeprefix("sha256:")
    made_from = materials.of_image(root, base or _LOCAL_BASE, wheel)
    said = Statement("image", source, subjects, made_from, materials.tools(root, podman=True))
    (place / names.provenance(source.version, here)).write_bytes(envelope.sealed(statement.written(said), key))


def _must_be_as_it_was(root: Path, source: Source) -> None:
    """What was built from the tree is of this commit only if the tree is still that commit's."""
    if source_of(root) != source:
        raise Refused("the checkout has another commit than when the build began: build again")
