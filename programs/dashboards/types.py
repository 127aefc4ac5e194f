"""Holds dashboards against Grafana's own types, by TypeScript's compiler."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

GRAFANA: Final = Path(__file__).resolve().parents[2] / "tests" / "grafana"
"""Where Grafana's packages are, and what we build on them."""
NODE: Final = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "node"

_OPTIONS: Final = (
    "--noEmit", "--strict", "--skipLibCheck",
    "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022", "--lib",
    "es2022,dom",
)  # fmt: skip


def package(name: str) -> Path:
    """The folder of one of Grafana's packages, or of one that they need."""
    found = GRAFANA / "node_modules" / name
    if not found.is_dir():
        raise FileNotFoundError(f"no {name} in tests/grafana/node_modules: run `make grafana`")
    return found


def complaints(dashboards: Mapping[str, str]) -> str:
    """What the compiler says of the JSON of each dashboard, by its name; empty where all of it is as Grafana has it."""
    compiler = package("typescript") / "bin" / "tsc"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "node_modules").symlink_to(GRAFANA / "node_modules")
        shutil.copy(GRAFANA / "shapes.ts", folder)
        for name, text in dashboards.items():
            source = (
                f"import type {{ DashboardFile }} from './shapes';\nexport const dashboard: DashboardFile =\n{text};\n"
            )
            (folder / f"{name}.ts").write_text(source)
        sources = [f"{name}.ts" for name in dashboards]
        done = subprocess.run(
            [NODE, compiler, *_OPTIONS, *sources], cwd=folder, capture_output=True, text=True, timeout=120, check=False
        )
    return done.stdout + done.stderr
