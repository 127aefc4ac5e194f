"""Real Prometheus servers, Debian's and a new one, and an Alertmanager: what they scrape, compute and hand on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support import ROOT
from tests.support.service import asked_json, serving

LINES: Final = ("2", "3")
"""The lines of Prometheus: Debian's 2.42, and the 3.x that `.ci/build-tool prometheus` builds."""

PROMTOOLS: Final = (Path("/usr/bin/promtool"), ROOT / ".tools" / "bin" / "promtool")
"""The promtool of each line."""


@dataclass(frozen=True, slots=True)
class Target:
    """A sidecar to scrape, with the labels that a pod of it has."""

    address: str
    namespace: str
    pod: str


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str
    line: str

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query, now or at a Unix time."""
        moment = {} if at is None else {"time": f"{at:.3f}"}
        return self._data("query", query=expr, **moment)["result"]  # type: ignore[no-any-return]

    def query_range(self, expr: str, start: float, end: float, step: float = 1.0) -> list[dict[str, Any]]:
        """The series of a query between two Unix times."""
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step}"}
        return self._data("query_range", query=expr, **span)["result"]  # type: ignore[no-any-return]

    def exemplars(self, selector: str, start: float, end: float) -> list[dict[str, Any]]:
        """The exemplars of every series that a selector names: their labels, value and time."""
        found = self._data("query_exemplars", query=selector, start=f"{start:.3f}", end=f"{end:.3f}")
        return [exemplar | {"series": series["seriesLabels"]} for series in found for exemplar in series["exemplars"]]

    def selectors(self, expr: str) -> list[str]:
        """Every selector that stands in a query, as Prometheus itself reads it (3.x only)."""
        return sorted(set(_selectors(self._data("parse_query", query=expr))))

    def names(self) -> list[str]:
        """The names of all metrics."""
        return self._data("label/__name__/values")  # type: ignore[no-any-return]

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are pending or firing."""
        return self._data("alerts")["alerts"]  # type: ignore[no-any-return]

    def rules(self) -> list[dict[str, Any]]:
        """All rules with their health."""
        return [rule for group in self._data("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped, with its health."""
        return self._data("targets")["activeTargets"]  # type: ignore[no-any-return]

    def _data(self, what: str, **parameters: str) -> Any:
        answer = asked_json(f"{self.url}/api/v1/{what}", **parameters)
        assert answer["status"] == "success", answer
        return answer["data"]


@contextmanager
def prometheus(
    line: str, folder: Path, targets: Sequence[Target] = (), rules: Sequence[Path] = (), alertmanager: str = ""
) -> Iterator[Prometheus]:
    """Run one that scrapes and evaluates every second. Data lies in `folder/data`, where blocks may stand already."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    config.write_text(yaml.safe_dump(configuration(line, targets, rules, alertmanager)))

    def command(port: int) -> list[str]:
        return [
            program("prometheus", line), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage", "--log.level=warn",
        ]  # fmt: skip

    with serving(command, folder, "/-/ready") as url:
        yield Prometheus(url, line)


def configuration(line: str, targets: Sequence[Target], rules: Sequence[Path], alertmanager: str) -> dict[str, Any]:
    """What stands in its file. `namespace` and `pod` are the labels that a PodMonitor would give."""
    static = [
        {"targets": [target.address], "labels": {"namespace": target.namespace, "pod": target.pod}}
        for target in targets
    ]
    found: dict[str, Any] = {
        "global": {
            "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s",
            "external_labels": {"prometheus": line},
        },
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [{"job_name": "sidecars", "static_configs": static}] if targets else [],
    }  # fmt: skip
    if alertmanager:
        found["alerting"] = {
            "alertmanagers": [{"static_configs": [{"targets": [alertmanager.removeprefix("http://")]}]}]
        }
    return found


@contextmanager
def alertmanager(folder: Path, webhook: str) -> Iterator[str]:
    """Run an Alertmanager that hands each alert by itself to a webhook, at once; its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "alertmanager.yml"
    route = {"receiver": "test", "group_by": ["..."], "group_wait": "0s", "group_interval": "1s"}
    receiver = {"name": "test", "webhook_configs": [{"url": webhook, "send_resolved": False}]}
    config.write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}))

    def command(port: int) -> list[str]:
        return [
            _found("prometheus-alertmanager"), f"--config.file={config}", f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=warn",
        ]  # fmt: skip

    with serving(command, folder, "/-/ready") as url:
        yield url


def program(name: str, line: str) -> str:
    """The path of `prometheus` or `promtool` of a line. Raises RuntimeError where it is not there."""
    if line == "2":
        return _found(name)
    path = ROOT / ".tools" / "bin" / name
    if not path.is_file():
        raise RuntimeError(f"no {name} in .tools/bin: run .ci/build-tool prometheus")
    return str(path)


def _found(name: str) -> str:
    # Not the one of .tools/bin, wherever the PATH leads first.
    found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise RuntimeError(f"no {name}: make prometheus")
    return found


def _selectors(node: Any) -> Iterator[str]:
    """The selectors below a node of a parsed query."""
    if isinstance(node, list):
        for part in node:
            yield from _selectors(part)
    if not isinstance(node, dict):
        return
    if node.get("type") in ("vectorSelector", "matrixSelector"):
        matchers = [f"{each['name']}{each['type']}{json.dumps(each['value'])}" for each in node["matchers"]]
        yield "{" + ",".join(matchers) + "}"
        return
    for part in node.values():
        yield from _selectors(part)
