"""The verbs of a policy repository as people run them, and a repository to run them on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support import OPA, SIDECAR
from tests.support.peer import SECONDS

OPEN, CLOSED = "read_page", "delete_page"
"""A tool that the policy of `written` permits, and one that it refuses until the policy is changed."""
REFUSAL = "Nobody deletes"
POLICY = f"""\
version: "1"
default: deny
tools:
  {OPEN}: {{rules: []}}
  {CLOSED}:
    rules:
      - {{name: never, action: deny, reason: {REFUSAL}}}
"""
OPENED = POLICY.replace(", action: deny", ", action: allow").replace(f", reason: {REFUSAL}", "")
CUSTOM = """\
package intercept.custom

violations contains {"rule": "no drafts", "reason": "Drafts are not read"} if input.arguments.draft == true
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A pair of keys as `openssl` makes it."""

    private: Path
    public: Path


def new_key(folder: Path, name: str = "key", *options: str) -> Key:
    """A new pair: RSA of 2048 bits, unless the options say otherwise."""
    key = Key(folder / f"{name}.private.pem", folder / f"{name}.public.pem")
    made = options or ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    run(["openssl", "genpkey", *made, "-out", str(key.private)], folder)
    run(["openssl", "pkey", "-in", str(key.private), "-pubout", "-out", str(key.public)], folder)
    return key


def written(folder: Path, policy: str = POLICY) -> Path:
    """A repository with one policy."""
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    (folder / "policies" / "policy.yaml").write_text(policy)
    return folder


@cache
def bundle(text: str, serial: int, key: Key, *, custom: bool = False) -> bytes:
    """The bundle of a policy, signed; each is built once. It has hand-written Rego where that is wanted."""
    with TemporaryDirectory() as folder:
        repository = written(Path(folder) / "repository", text)
        if custom:
            (repository / "rego" / "custom").mkdir(parents=True)
            (repository / "rego" / "custom" / "rules.rego").write_text(CUSTOM)
        return built(repository, Path(folder) / "policy.tar.gz", serial, key)


def built(repository: Path, file: Path, serial: int, key: Key | None) -> bytes:
    """The bundle of a repository; its bytes, which are in the file too."""
    signing = ["--key", str(key.private)] if key is not None else []
    policy("build", str(repository), "-o", str(file), "--serial", str(serial), *signing, cwd=repository)
    return file.read_bytes()


def policy(*words: str, cwd: Path, status: int = 0) -> str:
    """What a verb of `sidecar policy` says on both streams; it must end with this status."""
    return run([str(SIDECAR), "policy", *words], cwd, status)


def git(repository: Path, *words: str) -> str:
    """What git says."""
    who = ["-c", "user.name=author", "-c", "user.email=author@example.com", "-c", "init.defaultBranch=main"]
    return run(["git", *who, *words], repository)


def run(command: Sequence[str], folder: Path, status: int = 0) -> str:
    """What a command says on both streams; it must end with this status."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=8 * SECONDS, check=False, env=os.environ | {"SIDECAR_OPA_BIN": str(OPA)},
    )  # fmt: skip
    assert done.returncode == status, f"{' '.join(command)} ended with {done.returncode}, not {status}:\n{done.stdout}"
    return done.stdout
