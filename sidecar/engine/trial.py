"""A bundle that somebody else built, on OPA's own programs before any engine has it: its content, then its answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.decision.question import question
from sidecar.engine import binary, capabilities
from sidecar.errors import BundleRefused
from sidecar.policy.bundle import Bundle, rego_folder, write
from sidecar.policy.custom import CUSTOM
from sidecar.policy.custom_builtins import BUILTINS, CLOCK
from sidecar.policy.names import CANARY_ALLOWED, CANARY_DENIED
from sidecar.system import temporary_folders
from sidecar.text import shown, visible

OF_LIBRARY: Final = frozenset({"net.cidr_expand", "opa.runtime"})
"""Built-in functions that our library needs beside those that hand-written Rego may use too."""

_CANARIES: Final = {"allow": CANARY_ALLOWED, "deny": CANARY_DENIED}
_ASKED: Final = "{action: answer | some action, asked in input; answer := data.intercept.decision with input as asked}"
_METADATA: Final = re.compile(r"#\s*METADATA[ \t\u00a0]*(?:[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]|\Z)")


def check_generated(opa: Path, modules: Mapping[str, str], facts: str, *, custom: bool) -> None:
    """Raise `BundleRefused` unless modules and facts are what a compiler of ours writes, as far as that can be seen.

    `facts` is the text of JSON that has been read strictly; `custom` says whether hand-written Rego stands beside the
    modules. They are parsed and not compiled: to compile a module can do things already. Raises `StartError` where OPA
    cannot be run.
    """
    for path, text in sorted(modules.items()):
        # An annotation may name a schema, which OPA fetches.
        if _METADATA.search(text):
            raise BundleRefused("foreign", f"{path} in it has annotations, which no compiler of ours writes")
    schema = (rego_folder() / "schemas" / "intercept" / "facts" / "data.json").read_text(encoding="utf-8")
    document = f'{{"modules":{json.dumps(modules)},"custom":{json.dumps(custom)},"facts":{facts},"schema":{schema}}}'
    command: list[Path | str] = [opa, "eval", "--format", "raw", "--strict-builtin-errors", "--stdin-input"]
    command += ["--data", rego_folder() / "admission" / "admission.rego", "data.admission.faults"]
    done = binary.run(command, document)
    faults = _json(done.stdout)
    if done.returncode or not isinstance(faults, list):
        raise BundleRefused("broken", f"a module in it is no Rego: {_brief(done.stderr or done.stdout)}")
    if faults:
        raise BundleRefused("foreign", f"{faults[0]['file']} in it {shown(faults[0]['fault'])}{_more(len(faults))}")


def trial(opa: Path, bundle: Bundle) -> None:
    """Raise `BundleRefused` unless OPA compiles a bundle strictly, and answers both canaries rightly on it.

    Its modules can use nothing that reaches the network or the machine. Raises `StartError` where OPA cannot be run.
    """
    custom = any(path.startswith(f"{CUSTOM}/") for path in bundle.files)
    questions = {action: json.loads(question("", tool, {}))["input"] for action, tool in _CANARIES.items()}
    with temporary_folders.folder() as folder, temporary_folders.folder() as beside:
        write(bundle.files, folder)
        may = beside / "capabilities.json"
        may.write_text(_capabilities(opa, custom=custom), encoding="utf-8")
        command: list[Path | str] = [
            opa,
            "eval",
            "--format",
            "raw",
            "--strict",
            "--strict-builtin-errors",
            "--stdin-input",
        ]
        command += ["--capabilities", may, "--bundle", folder, _ASKED]
        done = binary.run(command, json.dumps(questions))
        said = (done.stderr or done.stdout).replace(f"{folder}/", "")
    if done.returncode or not done.stdout.strip():
        raise BundleRefused("trial", f"OPA does not accept it: {_brief(said or 'it gives no decision')}")
    answers = _json(done.stdout)
    for action in _CANARIES:
        answer = answers.get(action) if isinstance(answers, dict) else None
        expected = (action, bundle.revision, bundle.serial)
        if not isinstance(answer, dict) or tuple(map(answer.get, ("action", "revision", "serial"))) != expected:
            raise BundleRefused("trial", f"the canary that must get {action} got another answer")


def _capabilities(opa: Path, *, custom: bool) -> str:
    allowed = (BUILTINS if custom else BUILTINS - {CLOCK}) | OF_LIBRARY
    return capabilities.limited(capabilities.known(opa), lambda one: one["name"] in allowed)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _brief(said: str) -> str:
    return visible(" ".join(said.split())[:300])


def _more(count: int) -> str:
    return f", and {count - 1} more faults" if count > 1 else ""
