"""The recording of decided calls, as the settings have it: opened, and said."""

from __future__ import annotations

import os

from sidecar.events import Emit
from sidecar.rehearsal.recordings.record_file import RecordFile
from sidecar.rehearsal.recordings.recorder import Recorder
from sidecar.settings import Recording
from sidecar.system.operator_log import fields, log
from sidecar.system.workload import workload
from sidecar.text import visible


def recorder_to(recording: Recording, server: str, key: bytes, emit: Emit) -> Recorder:
    """What records the calls of a server. Raises `StartError` where the file cannot be ours alone."""
    file = RecordFile(recording.path, recording.size)
    log.warning(
        "--record keeps of every decided call %s, who called and what was decided in %s (up to %d KiB, with %s.1); of "
        "values that approvals.mask hides it keeps keyed hashes only",
        "all arguments and claims" if recording.whole else "the arguments and claims that rules read",
        visible(str(recording.path)), recording.size >> 10, visible(recording.path.name),
        extra=fields("recording", option="--record", file=str(recording.path)),
    )  # fmt: skip
    return Recorder(file, server, key, workload(os.environ), emit, whole=recording.whole)
