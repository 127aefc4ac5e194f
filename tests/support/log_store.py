"""A real log store, VictoriaLogs, and a shipper that feeds it with audit lines as one beside a sidecar would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support import ROOT
from tests.support.service import asked, posted, serving

PROGRAM: Final = ROOT / ".tools" / "bin" / "victoria-logs"
FIELDS: Final = "_stream_fields=namespace,server,event&_time_field=time"
"""How it is told to read JSON lines: which fields make a stream, and which is the time."""


@dataclass(frozen=True, slots=True)
class LogStore:
    """One that runs."""

    url: str

    def ship(self, file: Path, namespace: str) -> int:
        """Send every line of an audit file; how many there are. A line that is no JSON raises ValueError."""
        # `_msg` is what is shown, and found without the name of a field: the line itself.
        more = {"namespace": namespace}
        lines = [json.loads(line) | more | {"_msg": line} for line in file.read_text().splitlines()]
        body = "".join(json.dumps(line) + "\n" for line in lines)
        posted(f"{self.url}/insert/jsonline?{FIELDS}", body.encode(), {"Content-Type": "application/stream+json"})
        return len(lines)

    def find(self, query: str) -> list[dict[str, Any]]:
        """The lines that a query in LogsQL finds, of the last hour."""
        found = asked(f"{self.url}/select/logsql/query", query=query, start="1h", limit="10000")
        return [json.loads(line) for line in found.splitlines()]


@contextmanager
def log_store(folder: Path) -> Iterator[LogStore]:
    """Run it, with its data in a folder."""
    if not PROGRAM.is_file():
        raise RuntimeError("no victoria-logs in .tools/bin: run .ci/build-tool victoria-logs")

    def command(port: int) -> list[str]:
        return [str(PROGRAM), f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={folder / 'data'}"]

    with serving(command, folder, "/health") as url:
        yield LogStore(url)
