"""python -m programs.profile.profiled FOLDER run ...: the command line of the sidecar, profiled between two signals.

The process writes its id to `pid` in the folder. SIGUSR1 begins and makes the file `begun`; SIGUSR2 ends and makes the
file `functions`, a JSON list of [function, calls, own seconds]. Start and end of the sidecar are left out that way.
"""

from __future__ import annotations

import cProfile
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import CodeType
from typing import Final

from sidecar import cli
from tests.support import ROOT

BEGIN: Final = signal.SIGUSR1
END: Final = signal.SIGUSR2


def main(folder: Path, words: list[str]) -> None:
    """Run the sidecar with these words; ends with its status."""
    # Processor time, so that whoever else runs on the machine stands in no figure.
    profiler = cProfile.Profile(time.thread_time)

    def begin(number: int, frame: object) -> None:
        write(folder / "begun", "")
        profiler.enable()

    def end(number: int, frame: object) -> None:
        profiler.disable()
        entries = profiler.getstats()
        found = [(name_of(entry.code), entry.callcount, entry.inlinetime) for entry in entries]
        write(folder / "functions", json.dumps(found))

    signal.signal(BEGIN, begin)
    signal.signal(END, end)
    write(folder / "pid", str(os.getpid()))
    sys.argv = ["sidecar", *words]
    cli.main()


def name_of(code: CodeType | str) -> str:
    """Where a function stands and how it is called; built-in ones have no place."""
    if isinstance(code, str):
        return code
    path = Path(code.co_filename)
    place = path.relative_to(ROOT) if path.is_relative_to(ROOT / "sidecar") else Path(*path.parts[-2:])
    return f"{place}:{code.co_firstlineno} {code.co_qualname}"


def write(path: Path, text: str) -> None:
    """A file that is whole as soon as it is there."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
