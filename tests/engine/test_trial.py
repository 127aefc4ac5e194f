"""A bundle that somebody else built, before any engine has it: what its modules may be, and what it must answer."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from sidecar.engine.trial import OF_LIBRARY, check_generated, trial
from sidecar.errors import BundleRefused, StartError
from sidecar.policy.bundle import FACTS, Bundle
from tests.engine.asking import bundle_of
from tests.support import OPA, ROOT

GENERATED = "intercept/policy/"
BUNDLE = bundle_of("tools: {t: {rules: [{conditions: [{path: args.n, op: lte, value: 5}]}]}}")


def with_file(path: str, text: str) -> Bundle:
    return replace(BUNDLE, files={**BUNDLE.files, path: text})


def refusal(bundle: Bundle) -> str:
    """Why a bundle fails its trial."""
    with pytest.raises(BundleRefused) as caught:
        trial(OPA, bundle)
    assert caught.value.kind == "trial"
    return str(caught.value)


def fault(text: str, *, custom: bool = False) -> tuple[str, str]:
    """Why a module is refused."""
    with pytest.raises(BundleRefused) as caught:
        check_generated(OPA, {f"{GENERATED}a.rego": text}, BUNDLE.files[FACTS], custom=custom)
    return caught.value.kind, str(caught.value)


# The trial.


def test_a_good_bundle_passes_its_trial() -> None:
    trial(OPA, BUNDLE)


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        ('{"action": "allow"}', "the canary that must get deny got another answer"),
        ('{"action": "deny"}', "the canary that must get allow got another answer"),
        ('{"action": input.tool}', "the canary that must get allow got another answer"),
        ("[]", "the canary that must get allow got another answer"),
        ("input.nothing", "the canary that must get allow got another answer"),
        ("1 / 0", "OPA does not accept it: .*divide by zero"),
    ],
)
def test_a_bundle_that_answers_a_canary_wrongly_fails_its_trial(decision: str, said: str) -> None:
    library = f"""package intercept

action := "allow" if input.tool == "intercept/canary-allowed"

action := "deny" if input.tool == "intercept/canary-denied"

decision := object.union({{"revision": "{BUNDLE.revision}", "serial": 1, "action": action}}, {decision})
"""
    if not decision.startswith("{"):
        library = f"package intercept\n\ndecision := {decision}\n"
    why = refusal(with_file("intercept/decision.rego", library))
    assert why.startswith(said) or "divide by zero" in why


@pytest.mark.parametrize("stamp", ['{"revision": "other", "serial": 1}', '{"revision": "REVISION", "serial": 2}'])
def test_an_answer_by_another_policy_is_none(stamp: str) -> None:
    text = stamp.replace("REVISION", BUNDLE.revision).replace("}", ', "allow": {}}')
    assert refusal(with_file("intercept/bundle/data.json", text)) == "the canary that must get allow got another answer"


@pytest.mark.parametrize(
    "module",
    [
        "passes[1] if unknown_thing", "passes[1] if { x := 1 }", "passes[",
        'passes[1] if http.send({"url": input.arguments.url, "method": "get"})', "passes[1] if time.now_ns() > 1",
        'passes[1] if net.lookup_ip_addr("example.com")', 'passes[1] if print("x")', "passes[1] if rand.intn(\"a\", 2)",
        'passes[1] if trace("x")', 'passes[1] if rego.parse_module("a", "b")',
    ],
)  # fmt: skip
def test_a_module_that_does_not_compile_or_reaches_out_fails_its_trial(module: str) -> None:
    why = refusal(with_file(f"{GENERATED}a.rego", f"package intercept.policy\n\n{module}\n"))
    assert why.startswith("OPA does not accept it: ")
    assert "\n" not in why


def test_the_time_can_be_read_where_hand_written_rego_stands_beside() -> None:
    text = "package intercept.policy\n\npasses[1] if time.now_ns() > 1\n"
    bundle = with_file(f"{GENERATED}a.rego", text)
    assert "time.now_ns" in refusal(bundle)
    trial(OPA, replace(bundle, files={**bundle.files, "intercept/custom/data.json": "{}"}))


def test_an_opa_that_cannot_be_run_is_no_fault_of_the_bundle(tmp_path: Path) -> None:
    silent = tmp_path / "opa"
    silent.write_text("#!/bin/sh\n")
    silent.chmod(stat.S_IRWXU)
    for opa in (tmp_path / "none", silent):
        with pytest.raises(StartError):
            trial(opa, BUNDLE)


def test_the_library_needs_no_more_than_it_is_given() -> None:
    texts = [path.read_text() for path in (ROOT / "rego" / "intercept").rglob("*.rego") if "_test" not in path.name]
    assert all(any(f"{name}(" in text for text in texts) for name in OF_LIBRARY)


# Its modules.


def test_what_the_compiler_writes_has_no_fault() -> None:
    for path in sorted((ROOT / "policies").glob("*.yaml")):
        files = bundle_of(path.read_text()).files
        modules = {name: files[name] for name in files if name.startswith(GENERATED)}
        check_generated(OPA, modules, files[FACTS], custom=False)


@pytest.mark.parametrize(
    "package", ["intercept", "intercept.custom", "intercept.operator", "system.authz", "system", "intercept.policy.x"]
)
def test_a_module_of_another_package_is_foreign(package: str) -> None:
    expected = f"{GENERATED}a.rego in it says package {package}"
    assert fault(f"# package intercept.policy\npackage {package}\n") == ("foreign", expected)


def test_a_module_that_defines_more_than_the_compiler_writes_is_foreign() -> None:
    assert fault("package intercept.policy\n\ndecision := 1\n")[0] == "foreign"
    kind, why = fault("package intercept.policy\n\na := 1\n\nb := 2\n")
    assert (kind, why.endswith(", and 1 more faults")) == ("foreign", True)


def test_a_proof_that_passes_hand_written_rego_over_is_foreign() -> None:
    text = 'package intercept.policy\n\nproved if input.tool == "t"\n'
    check_generated(OPA, {f"{GENERATED}a.rego": text}, BUNDLE.files[FACTS], custom=False)
    assert fault(text, custom=True)[0] == "foreign"


@pytest.mark.parametrize(
    "mark", ["# METADATA", "#METADATA", "\t# METADATA  ", "#  METADATA", "# x # METADATA", "# METADATA\r"]
)
def test_an_annotation_is_foreign(mark: str) -> None:
    assert fault(f"{mark}\n# schemas:\n# - input: schema.x\npackage intercept.policy\n")[0] == "foreign"


@pytest.mark.parametrize(
    "text", ["", "allow = true {", "package intercept.policy\n\nallow { true }\n", "\0", "package"]
)
def test_what_is_no_rego_is_broken(text: str) -> None:
    kind, why = fault(text)
    assert (kind, why.startswith("a module in it is no Rego: ")) == ("broken", True)
    assert "\n" not in why
