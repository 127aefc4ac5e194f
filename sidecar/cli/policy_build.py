"""`sidecar policy build`: a policy as one signed file, which sidecars put in force."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from sidecar.cli.options import OpaBin
from sidecar.cli.policy_key import KEY, PolicyKey, private_key
from sidecar.cli.printing import complain, say, warn
from sidecar.distribution.admission import admit
from sidecar.engine import binary
from sidecar.engine.sign import of_publisher
from sidecar.errors import StartError, UsageError
from sidecar.ledger.protocol import MAX_SERIAL
from sidecar.policy.manifest import COMMIT
from sidecar.repository.build import packed
from sidecar.repository.commit import Commit, commit_of
from sidecar.repository.subject import is_bundle, subject
from sidecar.system.taken_secrets import TakenSecrets
from sidecar.text import of_system, shown_quoted

FIRST: Final = 1
"""The serial where nobody names one."""


def policy_build_command(
    path: Annotated[Path, typer.Argument(metavar="DIR | POLICY.yaml", help="A policy repository, or one policy file.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", envvar="SIDECAR_OUTPUT", metavar="FILE.tar.gz", help="The bundle to write."),
    ],
    key: PolicyKey = None,
    serial: Annotated[
        int | None,
        typer.Option(
            envvar="SIDECAR_SERIAL", metavar="N", show_default=False,
            help=f"Its place in the order of bundles: higher than any before. [default: {FIRST}]",
        ),
    ] = None,
    commit: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_COMMIT", metavar="ID", show_default=False,
            help="What it was built from. [default: the commit of the repository, if git knows one]",
        ),
    ] = None,
    opa_bin: OpaBin = None,
) -> int:  # fmt: skip
    """Build the bundle of a policy, and sign it. The same policy, key and serial give the same bytes."""
    pem = private_key(key, TakenSecrets())
    if is_bundle(path):
        raise UsageError(f"{path} is a bundle already: name the policy that it was built from")
    if serial is not None and not 1 <= serial <= MAX_SERIAL:
        raise UsageError(f"--serial must be a number from 1 to {MAX_SERIAL}, not {serial}")
    if commit and not COMMIT.fullmatch(commit):
        raise UsageError(f"--commit must be up to 100 letters, digits and ._/+:@-, not {shown_quoted(commit)}")
    signer = of_publisher(pem, "--key" if key is not None else KEY) if pem else None
    opa = binary.find(opa_bin)
    policy = subject(path, opa, serial=FIRST if serial is None else serial)
    complain(*policy.warnings)
    origin = commit_of(policy) if commit is None else Commit(commit)
    data = packed(policy, signer, str(origin))
    name = of_system(str(output))
    bundle = admit(data, keys=[signer.public] if signer is not None else [], opa=opa, name=name)
    _write(output, data)
    if signer is None:
        warn(f"{name} is not signed: whoever can write where it is published decides; sign it with --key PRIVATE.pem")
    elif not signer.repeats:
        warn(f"{name} is not reproducible: OpenSSL here signs with ES256 otherwise each time; an RSA key signs alike")
    if origin.differing:
        warn(_differs(origin))
    if serial is None:
        warn(f"serial {FIRST}, since --serial names none: where a bundle was published before, it has to be higher")
    say(f"{name}: built")
    say(f"revision {bundle.revision}")
    say(f"serial {bundle.serial}")
    say(f"commit {bundle.commit or 'unknown'}")
    say(f"sha256 {hashlib.sha256(data).hexdigest()}")
    return 0


def _differs(commit: Commit) -> str:
    file, more = of_system(commit.differing[0]), len(commit.differing) - 1
    files = f"{file} is" if not more else f"{file}, and {more} more, are"
    return (
        f"{files} not in the commit as read here, so the bundle names {commit}: commit what is to be built, and take "
        "conversions away (autocrlf, filters), by which git checks out another text than the commit has"
    )


def _write(path: Path, data: bytes) -> None:
    """Write the file in one step: who fetches it meanwhile gets the old one or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise StartError(f"cannot write {of_system(str(path))}: {error.strerror}; name another file with -o") from None
