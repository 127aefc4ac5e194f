"""A real Redis on a free loopback port, its data in a folder; it can be killed and started again."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.support.peer import SECONDS, until
from tests.support.ports import free_port

ATTEMPTS = 5
"""How often another port is tried, when somebody else was quicker to take one."""


class RedisServer:
    """A running `redis-server`; what it acknowledged stands after it was killed. `options` are its own."""

    def __init__(self, folder: Path, *options: str, tls: Path | None = None, password: str = "") -> None:
        self.folder = folder
        self.password = password
        self.tls = tls
        self._options = (*options, *(("--requirepass", password) if password else ()))
        for _ in range(ATTEMPTS):
            self.port = free_port()
            if self.start():
                return
        raise RuntimeError(f"redis-server does not start: {self._log.read_text()[-2000:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def dsn(self) -> str:
        """How it is reached."""
        secret = f":{self.password}@" if self.password else ""
        if self.tls:
            return f"rediss://{secret}localhost:{self.port}/0?ssl_ca_certs={self.tls / 'cert.pem'}"
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def start(self) -> bool:
        """Start it on its port; False when it ended instead of answering."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("no redis-server on the PATH: apt-get install redis-server")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program, *self._ports(), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                    "--appendonly", "yes", *self._options,
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        until(lambda: self._process.poll() is not None or self._answers(), what="redis-server")
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()
        self._process.wait(SECONDS)

    @contextmanager
    def client(self) -> Iterator[Redis]:
        """A client to look at it with."""
        with Redis.from_url(self.dsn, decode_responses=True, socket_timeout=SECONDS) as client:
            yield client

    @property
    def _log(self) -> Path:
        return self.folder / "redis.log"

    def _ports(self) -> list[str]:
        if self.tls is None:
            return ["--port", str(self.port)]
        cert, key = str(self.tls / "cert.pem"), str(self.tls / "key.pem")
        return [
            "--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no",
            "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert,
        ]  # fmt: skip

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for all tests that leave it as it was; each keeps to a prefix of its own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server
