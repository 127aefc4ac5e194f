"""The build hook of the wheel: puts the pinned OPA into it, so that whoever installs from source has a whole sidecar.

`deploy/wheel/build` hands in an OPA with its licences and the SBOM, for a wheel that travels. In any other build of a
wheel, OPA is built for this machine, or taken from where an earlier build left it. An editable install and an sdist
carry none.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Hatchling loads this file by its path. `deploy` and `sidecar` are found beside it; nothing that has to be installed is
# imported by what is used of them here.
sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from deploy.wheel import opa_build, opa_cache
from deploy.wheel.opa_build import BuildError, Recipe

PARTS: Final = "SIDECAR_WHEEL_PARTS"
"""Names the folder with what goes into the wheel."""
TAGS: Final = {
    # OPA is one static binary that asks for nothing but a Linux kernel: any C library will do.
    "amd64": "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
    "arm64": "py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
}


class OpaInside(BuildHookInterface):  # type: ignore[type-arg] # of no interest here: the configuration's type
    """Adds OPA: from the folder that is named in the environment, else built here."""

    def dependencies(self) -> list[str]:
        """Go, where a build will need one and none that is new enough is on the PATH."""
        if not self._wanted():
            return []
        recipe = self._recipe()
        if recipe.fetched is None or self._at_hand(recipe) is not None:
            return []
        return [recipe.fetched]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Change what is about to be built."""
        if version != "standard":
            return
        if PARTS in os.environ:
            parts = Path(os.environ[PARTS])
            architecture = (parts / "architecture").read_text(encoding="utf-8").strip()
            inside = {name: parts / name for name in ("opa", "opa-licenses.txt")}
            build_data["sbom_files"].append(str(parts / "intercept-sidecar.cdx.json"))
        elif self._wanted():
            recipe = self._recipe()
            try:
                # The licences and the SBOM are for wheels that are handed on.
                inside = {"opa": self._at_hand(recipe) or self._made(recipe)}
            except BuildError as error:
                raise SystemExit(str(error)) from None
            except OSError as error:
                raise SystemExit(f"OPA could not be built: {error}\n{recipe.way_out}") from None
            architecture = recipe.architecture
        else:
            return
        build_data["pure_python"] = False
        build_data["tag"] = TAGS[architecture]
        for name, path in inside.items():
            build_data["force_include"][str(path)] = f"sidecar/bin/{name}"

    def _wanted(self) -> bool:
        choice = os.environ.get(opa_build.CHOICE, "")
        if choice not in ("", opa_build.NONE):
            raise SystemExit(
                f"{opa_build.CHOICE}={choice}: only {opa_build.NONE} can be said there, for a wheel without OPA"
            )
        return PARTS not in os.environ and not choice

    def _recipe(self) -> Recipe:
        try:
            return opa_build.recipe(Path(self.root))
        except BuildError as error:
            raise SystemExit(str(error)) from None

    def _at_hand(self, recipe: Recipe) -> Path | None:
        """An OPA that was built before: for this checkout, or by another install."""
        own = Path(self.root) / ".tools" / "bin" / "opa"
        try:
            if own.is_file():
                opa_cache.check_plain(own)
                opa_cache.check_version(own, recipe.version)
                return own
        except opa_cache.Unfit as why:
            print(f"not used: {why}")
        try:
            return opa_cache.fitting(opa_cache.folder() / recipe.key, recipe.version)
        except opa_cache.Unfit as why:
            print(f"not used, so OPA is built again: {why}", flush=True)
        return None

    def _made(self, recipe: Recipe) -> Path:
        """A new OPA; kept for the next build, unless that is not safe."""
        try:
            folder = opa_cache.folder()
            opa_cache.prepare(folder)
            with opa_cache.building(folder, recipe.key) as made:
                if found := self._at_hand(recipe):
                    return found  # another install was at it
                opa_build.build(recipe, made / "opa")
                try:
                    return opa_cache.keep(made, folder / recipe.key)
                except OSError as error:
                    print(f"OPA is not kept for the next install: {error}", flush=True)
                    return Path(shutil.copy(made / "opa", self._apart()))
        except opa_cache.Unfit as why:
            print(f"OPA is not kept for the next install: {why}", flush=True)
        opa = self._apart() / "opa"
        opa_build.build(recipe, opa)
        return opa

    def _apart(self) -> Path:
        """A folder that is there until the wheel is written, and goes with this object."""
        self._scratch = tempfile.TemporaryDirectory(prefix="intercept-sidecar-")
        return Path(self._scratch.name)
