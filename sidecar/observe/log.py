"""Events as lines for the operator, on the error stream: denials and failures, nothing else."""

from __future__ import annotations

import json
import logging
import time

from sidecar.events import Decided, Dropped, EngineFailed, EngineReady, Event, Refused, StoreFailed
from sidecar.text import shown, visible

log = logging.getLogger("sidecar")


class Log:
    """Says what happened; a state that lasts is said when it begins and when it ends."""

    def __init__(self) -> None:
        self._engine_failing = False

    def hear(self, event: Event) -> None:
        """Say one event, if it is worth it."""
        match event:
            case Decided(allowed=False):
                by = f" by {event.rule}" if event.rule else ""
                log.info(
                    "denied %s%s (%s): %s [%s]",
                    shown(event.call.tool), visible(by), event.kind, visible(event.reason), event.decision_id,
                )  # fmt: skip
            case Refused():
                log.warning("refused a message of the client: %s [%s]", event.reason, event.decision_id)
            case Dropped():
                log.warning("dropped a message of the %s: %s", event.sender, event.reason)
            case StoreFailed():
                log.error("%s", event.text)
            case EngineFailed() if not self._engine_failing or event.kind == "exit":
                self._engine_failing = True
                log.error("%s; calls are denied until it answers again", event.text)
            case EngineReady() if self._engine_failing:
                self._engine_failing = False
                log.warning("the policy engine answers again, by revision %s", event.revision)
            case _:
                pass


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for one record."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
