"""The recording of decided calls, as the settings have it: opened, and said."""

from __future__ import annotations

import logging
import os

from sidecar.events import Emit
from sidecar.rehearsal.record_file import RecordFile
from sidecar.rehearsal.recording import Recorder
from sidecar.settings import Recording
from sidecar.system.workload import workload

log = logging.getLogger("sidecar")


def recorder_to(recording: Recording, server: str, key: bytes, emit: Emit) -> Recorder:
    """What records the calls of a server. Raises `StartError` where the file cannot be ours alone."""
    file = RecordFile(recording.path, recording.size)
    kept = (
        "all arguments and all claims of callers" if recording.whole else "the arguments and the claims that rules read"
    )
    log.warning(
        "recording every decided call in %s (--record): %s, who called, and what was decided; values that approvals.mask "
        "hides are there as keyed hashes only; up to %d MiB, with %s.1",
        recording.path, kept, -(-recording.size >> 20), recording.path.name,
    )  # fmt: skip
    return Recorder(file, server, key, workload(os.environ), emit, whole=recording.whole)
