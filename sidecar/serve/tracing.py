"""Spans of calls, as the settings have them: who notes them, and who sends them."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import Final

from sidecar.events import Emit, Observer
from sidecar.observe.traces.calls import CallSpans
from sidecar.observe.traces.collector import Collector
from sidecar.observe.traces.sending import Sending
from sidecar.settings import Otlp
from sidecar.system.workload import workload

_OF_KUBERNETES: Final = {"pod": "k8s.pod.name", "namespace": "k8s.namespace.name"}


def spans_to(otlp: Otlp, server: str, instance: str, emit: Emit, stack: AsyncExitStack) -> Observer:
    """What makes a span of each call and has it sent; what waits to be sent at the end is sent then."""
    found = workload(os.environ)
    about = {name: found[key] for key, name in _OF_KUBERNETES.items() if key in found}
    sending = Sending(Collector(otlp), server, about | {"service.instance.id": instance} | dict(otlp.resource), emit)
    spans = CallSpans(sending.put)
    stack.push_async_callback(sending.stop)
    stack.callback(spans.end)
    return spans
