"""The build hook of the wheel: puts the pinned OPA, its licences and the SBOM into it where `deploy/wheel/build` asks.

Any other build (`pip install -e .`, from an sdist, of a checkout) carries no OPA and is pure Python.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS: Final = "SIDECAR_WHEEL_PARTS"
"""Names the folder with what goes into the wheel."""
TAGS: Final = {
    # OPA is one static binary that asks for nothing but a Linux kernel: any C library will do.
    "amd64": "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
    "arm64": "py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
}


class OpaInside(BuildHookInterface):  # type: ignore[type-arg] # of no interest here: the configuration's type
    """Adds what the folder holds that is named in the environment: `architecture`, `opa`, licences, SBOM."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Change what is about to be built."""
        if PARTS not in os.environ or version != "standard":
            return
        parts = Path(os.environ[PARTS])
        build_data["pure_python"] = False
        build_data["tag"] = TAGS[(parts / "architecture").read_text(encoding="utf-8").strip()]
        for name in ("opa", "opa-licenses.txt"):
            build_data["force_include"][str(parts / name)] = f"sidecar/bin/{name}"
        build_data["sbom_files"].append(str(parts / "intercept-sidecar.cdx.json"))
