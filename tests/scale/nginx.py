"""A real nginx with the configuration that docs/http.md shows, in front of sidecars on loopback."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support import ROOT
from tests.support import nginx as real
from tests.support.ports import free_port


def shown() -> str:
    """The configuration in the documentation."""
    found = re.search(r"```nginx\n(.+?)```", (ROOT / "docs" / "http.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@contextmanager
def nginx(folder: Path, sidecars: Sequence[str], *, affinity: bool) -> Iterator[str]:
    """The URL of an nginx in front of sidecars, which are URLs."""
    port = free_port()
    text = shown().replace("listen 8000;", f"listen 127.0.0.1:{port};")
    for number, url in enumerate(sidecars, 1):
        text = text.replace(f"sidecar-{number}:8080", urlsplit(url).netloc)
    if not affinity:
        text, lines = re.subn(r"\n *hash .+", "", text)
        assert lines == 1
    with real.nginx(folder, text, port):
        yield f"http://127.0.0.1:{port}/mcp"
