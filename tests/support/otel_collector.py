"""A real OpenTelemetry collector, which writes every span that it takes to a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support import ROOT
from tests.support.peer import Peer, until
from tests.support.ports import free_port

PROGRAM: Final = ROOT / ".tools" / "bin" / "otel-collector"
START: Final = 30.0


@dataclass(slots=True)
class Collector:
    """One that runs, or ran. `file` has a line for each request that it took."""

    url: str
    file: Path

    @property
    def resources(self) -> list[dict[str, Any]]:
        """What it took, as it wrote it."""
        whole = self.file.read_text().rpartition("\n")[0] if self.file.exists() else ""
        return [one for line in whole.splitlines() for one in json.loads(line)["resourceSpans"]]

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Every span that it took."""
        return [span for one in self.resources for scope in one["scopeSpans"] for span in scope["spans"]]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Its spans, once there are so many."""
        until(lambda: len(self.spans) >= count, what=f"{count} spans at the collector")
        return self.spans


@contextmanager
def collecting(folder: Path, port: int = 0) -> Iterator[Collector]:
    """Run it, with its file in a folder. Raises RuntimeError where it was not built."""
    if not PROGRAM.is_file():
        raise RuntimeError("no otel-collector in .tools/bin: run .ci/build-tool otel-collector")
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    config, file = folder / "collector.yaml", folder / "spans.jsonl"
    config.write_text(f"""
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters: {{file: {{path: "{file}", append: true, flush_interval: 100ms}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [file]}}}}
""")
    with Peer([str(PROGRAM), f"--config=file:{config}"], folder) as running:
        running.wait_for_error("Everything is ready", START)
        yield Collector(f"http://127.0.0.1:{port}", file)
        running.process.terminate()
        running.wait()
