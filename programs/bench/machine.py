"""What the figures were taken on, as one line."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

from sidecar.engine import binary
from tests.support import OPA


def machine() -> str:
    """CPU, cores, and the versions that matter."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cpu = found[1].strip() if found else platform.machine()
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cpu}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"uvloop {version('uvloop')}, OPA {binary.version_of(OPA)}"
    )
