"""What tests share: a sidecar run as its users run it, the servers behind it, and where things are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
OPA = ROOT / ".tools" / "bin" / "opa"
SIDECAR = ROOT / ".venv" / "bin" / "sidecar"
STUB = Path(__file__).parent / "stub_server.py"

if not OPA.is_file():
    raise RuntimeError("no .tools/bin/opa: run `make setup`")
