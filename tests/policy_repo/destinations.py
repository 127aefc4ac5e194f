"""Where bundles are published to, and taken from: a folder, a real nginx that takes PUT, a real registry.

Each can be written to as somebody does who has the right to, and minds nothing (`put`), and can go away and come back.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.support.nginx import nginx
from tests.support.peer import SECONDS
from tests.support.ports import free_port
from tests.support.registry import registry

BLOCK = """\
server {{
  listen 127.0.0.1:{port};
  root {folder}/files;
  dav_methods PUT;
  create_full_put_path on;
  client_max_body_size 64m;
}}
"""
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Destination:
    """One place: `name` for people, `url` as `policy publish` and `run --bundle` take it."""

    name: str
    url: str

    @abstractmethod
    def put(self, data: bytes) -> None:
        """Put a bundle where sidecars look, as it is."""

    def go_away(self) -> None:
        """From now on nothing can be had there."""

    def come_back(self) -> None:
        """From now on it can."""

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_away()


class Directory(Destination):
    """A folder; it is away while it has another name."""

    name = "a directory"

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "published"
        self._folder.mkdir()
        self._away = folder / "away"
        self.url = str(self._folder)

    def put(self, data: bytes) -> None:
        draft = self._folder / "draft"
        draft.write_bytes(data)
        draft.replace(self._folder / "bundle.tar.gz")

    def go_away(self) -> None:
        self._folder.rename(self._away)

    def come_back(self) -> None:
        if self._away.exists():
            self._away.rename(self._folder)


class _Served(Destination):
    """A server on a port of its own, its data in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._running = ExitStack()

    @abstractmethod
    def _serving(self) -> AbstractContextManager[object]:
        """The server while it runs."""

    def go_away(self) -> None:
        self._running.close()

    def come_back(self) -> None:
        self._running.enter_context(self._serving())


class Nginx(_Served):
    """A plain nginx; everybody may PUT."""

    name = "HTTP (nginx)"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "nginx")
        (self._folder / "files").mkdir(parents=True)
        self.url = f"http://127.0.0.1:{self._port}/mcp-policy.tar.gz"

    def put(self, data: bytes) -> None:
        assert httpx.put(self.url, content=data, timeout=SECONDS).is_success

    def _serving(self) -> AbstractContextManager[object]:
        return nginx(self._folder, BLOCK.format(folder=self._folder, port=self._port), self._port)


class Registry(_Served):
    """A real OCI registry; everybody may push."""

    name = "OCI (docker-registry)"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "registry")
        self.url = f"oci://127.0.0.1:{self._port}/team/mcp-policy:latest"

    def put(self, data: bytes) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{self._port}/v2/team/mcp-policy/", timeout=SECONDS) as client:
            config, layer = _pushed(client, CONFIG_TYPE, b"{}"), _pushed(client, LAYER_TYPE, data)
            manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]}
            headers = {"content-type": MANIFEST_TYPE}
            assert client.put("manifests/latest", content=json.dumps(manifest), headers=headers).is_success

    def _serving(self) -> AbstractContextManager[object]:
        return registry(self._folder, port=self._port)


KINDS: tuple[type[Directory | Nginx | Registry], ...] = (Directory, Nginx, Registry)


def _pushed(client: httpx.Client, media_type: str, data: bytes) -> dict[str, object]:
    """A blob, put there, and how a manifest names it."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    begun = client.post("blobs/uploads/")
    assert begun.is_success
    location = httpx.URL(begun.headers["location"]).copy_merge_params({"digest": digest})
    assert client.put(location, content=data).is_success
    return {"mediaType": media_type, "digest": digest, "size": len(data)}
