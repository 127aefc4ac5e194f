"""What a running sidecar says of itself for `sidecar status`: its metrics and its readiness, asked for and read."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable
from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from sidecar.cli.status_values import Counted, Limit, Looked
from sidecar.system.instances import UNIX, Instance

SECONDS: Final = 3.0
"""Seconds that one sidecar may take to answer."""
MAX_BYTES: Final = 16 << 20
"""A longer answer is none of a sidecar."""

_PREFIX: Final = "mcp_policy_"


async def look(instance: Instance) -> Looked:
    """Ask one sidecar. Where it gives no answer it says why in `words`."""
    found = Looked(instance, Counted(), words=instance.says.splitlines())
    if not instance.telemetry:
        return found
    try:
        async with asyncio.timeout(SECONDS), _client(instance.telemetry) as client:
            status, said = await _get(client, "/readyz")
            found.ready = status == 200
            lines = said.splitlines()
            found.words = lines[1:] if found.ready else lines
            _, metrics = await _get(client, "/metrics")
        read(metrics, found)
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        found.ready = None
        found.words = [f"its telemetry at {instance.telemetry} gives no answer: {str(error) or type(error).__name__}"]
    except (ValueError, KeyError):
        found.ready = None
        found.words = [f"what answers at {instance.telemetry} is no sidecar"]
    return found


def read(text: str, found: Looked) -> None:
    """Note what the metrics say. Raises ValueError and KeyError for what are no metrics of ours."""
    server, counted = found.instance.server, found.counted
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    if not any(sample.name == f"{_PREFIX}build_info" for sample in samples):
        raise ValueError("no metrics of ours")
    for one in _named(samples, "decisions_total"):
        count = int(one.value)
        if one.labels["decision"] == "allow":
            counted.allow += count
        elif count:
            counted.add_denials((one.labels["tool"], one.labels["rule"]), one.labels.get("kind", ""), count)
    for one in _named(samples, "rule_info"):
        counted.places[one.labels["tool"], one.labels["rule"]] = f"{one.labels['file']}:{one.labels['line']}"
    for one in _named(samples, "component_up"):
        found.components[one.labels["component"]] = one.value > 0
    for one in _named(samples, "sessions"):
        found.sessions = int(one.value)
    most, resets = ({_counter(one): one.value for one in _named(samples, name)}
                    for name in ("limit_max", "limit_resets_timestamp_seconds"))  # fmt: skip
    for one in _named(samples, "limit_remaining"):
        key = _counter(one)
        found.limits.append(Limit(server, *key, one.value, most.get(key), resets.get(key) or None))
    counted.source = "telemetry"


def _named(samples: Iterable[Sample], name: str) -> list[Sample]:
    # No number of ours is infinite, or none.
    return [one for one in samples if one.name == _PREFIX + name and math.isfinite(one.value)]


def _counter(sample: Sample) -> tuple[str, str, str, str]:
    labels = sample.labels
    return labels["tool"], labels["rule"], labels.get("scope", ""), labels.get("window", "")


def _client(telemetry: str) -> httpx.AsyncClient:
    # No proxy of the environment: it is on this machine.
    if telemetry.startswith(UNIX):
        transport = httpx.AsyncHTTPTransport(uds=telemetry.removeprefix(UNIX))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=SECONDS, trust_env=False)
    # A wildcard address listens on loopback too.
    here = re.sub(r"//0\.0\.0\.0:", "//127.0.0.1:", re.sub(r"//\[::\]:", "//[::1]:", telemetry))
    return httpx.AsyncClient(base_url=here, timeout=SECONDS, trust_env=False)


async def _get(client: httpx.AsyncClient, path: str) -> tuple[int, str]:
    body = b""
    async with client.stream("GET", path) as answer:
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError("too long")
    return answer.status_code, body.decode()
