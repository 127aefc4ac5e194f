"""OPA as the pod of `deploy/base` starts it: the same command and files, only in other places and on another port."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support import OPA, ROOT
from tests.support.ports import free_port

BASE = ROOT / "deploy" / "base"


class PodOpa:
    """The place of one OPA, with its token and the bundle service's port; `start` and `kill` as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir()
        self.token = self.run / "token"
        self.token.write_text("the token that both of them know\n".replace(" ", "-"))
        self.port = free_port()
        self.key = folder / "private.pem"
        key_pair(self.key, folder / "public.pem")
        self.process: subprocess.Popen[bytes] | None = None
        self._etc = folder / "etc"
        shutil.copytree(BASE, self._etc)
        self.configuration = self._etc / "opa.yaml"
        self.configuration.write_text(self._here((BASE / "opa.yaml").read_text()))

    @property
    def options(self) -> tuple[str, ...]:
        """What `sidecar run` is told of it."""
        return (
            "--opa-url", f"unix://{self.run}/opa.sock", "--bundle-listen", f"127.0.0.1:{self.port}",
            "--bundle-token-file", str(self.token), "--bundle-signing-key", str(self.key),
        )  # fmt: skip

    def start(self) -> None:
        """Start it; it is ready when it has fetched a bundle."""
        words = [self._here(word) for word in container("opa")["args"]]
        self.process = subprocess.Popen([OPA, *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """Kill it, if it runs, and wait for its end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _here(self, text: str) -> str:
        """A text of the manifests with this place's paths and ports."""
        places = (
            ("/run/intercept", str(self.run)), ("/etc/opa", str(self._etc)),
            ("/etc/bundle-public-key", str(self.key.parent)),
            ("127.0.0.1:8282", f"127.0.0.1:{self.port}"), ("127.0.0.1:8181", "127.0.0.1:0"),
        )  # fmt: skip
        for there, here in places:
            text = text.replace(there, here)
        return text


def key_pair(private: Path, public: Path) -> None:
    """A key for bundles and its public half, as `openssl` makes them."""
    key = ec.generate_private_key(ec.SECP256R1())
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def container(name: str) -> dict[str, Any]:
    """A container of the base's pod."""
    pod = yaml.safe_load((BASE / "deployment.yaml").read_text())["spec"]["template"]["spec"]
    (found,) = [item for item in (*pod["initContainers"], *pod["containers"]) if item["name"] == name]
    return dict(found)
