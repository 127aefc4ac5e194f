"""The command line of releases: `build`, `verify` and `publish`. `make` has a verb for each."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.release import keys
from deploy.release.build import build
from deploy.release.publish import access, publish
from deploy.release.refused import Refused
from deploy.release.source import entry, source_of
from deploy.release.verify import verify
from sidecar.errors import StartError

ROOT: Final = Path(__file__).parent.parent.parent
FOLDER: Final = ROOT / "dist" / "release"


def main(words: Sequence[str]) -> int:
    """Run one command; its exit status."""
    given = _arguments().parse_args(words)
    folder = given.folder.absolute()
    try:
        if given.command == "build":
            _build(folder, given.key, with_image=not given.without_image)
        elif given.command == "verify":
            _verify(folder, given.key, given.commit)
        else:
            publish(ROOT, folder, access(os.environ), _tell)
    except (Refused, StartError, OSError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _build(folder: Path, key: Path | None, *, with_image: bool) -> None:
    found = source_of(ROOT)
    if entry(ROOT, found.version) == "unreleased":
        _tell(f"CHANGELOG.md says that {found.version} is unreleased: this is a rehearsal, which cannot be published")
    signer = keys.signing(key) if key is not None else None
    build(ROOT, folder, found, signer, _tell, with_image=with_image, base=os.environ.get("BASE", ""))
    _tell(f"built {found.version} of {found.commit} in {folder}")
    if signer is None:
        _tell("NOT SIGNED, so it cannot be published: nothing shows who built it; RELEASE_KEY=FILE signs it")


def _verify(folder: Path, key: Path | None, commit: str) -> None:
    found = verify(folder, keys.verification(key) if key is not None else None, commit)
    for name, digest in sorted(found.files.items()):
        _tell(f"{digest}  {name}")
    for image in found.images:
        _tell(f"the image for {image.architecture} is {image.digest}")
    _tell(f"these files are {found.source.version} of commit {found.source.commit}, and belong together")
    if found.signed_with:
        _tell(f"signed with {found.signed_with}")
    else:
        _tell("NO SIGNATURE WAS CHECKED: nothing shows who built them; give the public key with --key")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("build", "build the release of this commit"),
        ("verify", "check sums, provenance and signature"),
        ("publish", "verify, then publish image, tag and packages"),
    ):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("folder", nargs="?", type=Path, default=FOLDER, help="the folder of the release")
        if name != "publish":
            half = "private key that signs" if name == "build" else "public key that verifies"
            command.add_argument("--key", type=Path, help=f"the {half} the provenance, in PEM")
        if name == "build":
            command.add_argument("--without-image", action="store_true", help="packages only: podman needs root")
        if name == "verify":
            command.add_argument("--commit", default="", help="refuse a release of any other commit")
    return parser


def _tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
