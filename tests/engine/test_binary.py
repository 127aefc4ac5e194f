"""Finding the opa binary and asking it: in which order, which are refused, and what it says about bad policies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sidecar.engine import binary
from sidecar.engine.binary import GOOD_VERSIONS, bad_patterns, check, evaluate, find, version_of
from sidecar.errors import StartError
from tests.engine.asking import bundle_of
from tests.support import OPA

PLACES = ("given/opa", "sidecar/bin/opa", ".tools/bin/opa", "path/opa")
"""In the order in which they are looked at."""

WITH_UV = "with uv, after `uv cache clean intercept-sidecar`"


@pytest.fixture(autouse=True)
def _nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(binary, "_PACKAGE", tmp_path / "sidecar")
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")


def fake(path: Path, script: str = f"echo 'Version: {GOOD_VERSIONS[0]}'", mode: int = 0o755) -> Path:
    """A program in the place of opa."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_the_first_of_the_places_that_has_one_counts(tmp_path: Path, first: int) -> None:
    for place in PLACES[first:]:
        fake(tmp_path / place)
    given = tmp_path / PLACES[0] if first == 0 else None
    assert find(given) == tmp_path / PLACES[first]


def test_the_one_that_is_given_is_the_only_one_looked_at(tmp_path: Path) -> None:
    for place in PLACES[1:]:
        fake(tmp_path / place)
    with pytest.raises(StartError, match=r"cannot run .*/given/opa: No such file or directory; name an opa binary"):
        find(tmp_path / PLACES[0])


@pytest.mark.parametrize("given", ["opa", "./opa", "given/../opa"])
def test_one_that_is_given_by_a_relative_path_is_the_one_that_is_checked_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    fake(tmp_path / "opa", "echo 'Version: 1.4.0'")
    fake(tmp_path / "given" / "opa")
    fake(tmp_path / "path" / "opa")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartError, match=r"opa is OPA 1\.4\.0"):
        find(Path(given))
    fake(tmp_path / "opa")
    version_of.cache_clear()
    found = find(Path(given))
    assert found.is_absolute()
    assert found.samefile(tmp_path / "opa")


def test_one_on_a_relative_path_stays_the_same_one_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path / "path" / "opa")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "path:/usr/bin:/bin")
    assert find(None) == tmp_path / "path" / "opa"


@pytest.mark.parametrize(
    ("checkout", "remedy"),
    [
        (True, "run `make opa` in this checkout"),
        (False, f"install the sidecar again, without SIDECAR_WHEEL_OPA=none ({WITH_UV})"),
    ],
)
def test_without_any_the_message_says_how_to_get_one(tmp_path: Path, checkout: bool, remedy: str) -> None:
    assert shutil.which("opa") is None
    if checkout:
        fake(tmp_path / ".ci" / "build-opa")
    with pytest.raises(StartError) as refusal:
        find(None)
    ways = f"{remedy}, put opa 1.22.4 on the PATH, or name it with --opa-bin or OPA_BIN"
    assert str(refusal.value) == f"no opa binary: {ways}"


@pytest.mark.parametrize("version", GOOD_VERSIONS)
def test_the_good_versions_are_taken(tmp_path: Path, version: str) -> None:
    assert find(fake(tmp_path / "opa", f"echo 'Version: {version}'")) == tmp_path / "opa"


@pytest.mark.parametrize(
    "version",
    ["1.20.2", "1.21.0", "1.21.2", "1.22.0", "1.22.1", "1.22.40", "1.22.4-dev", "v1.22.4", "1.10.0", "0.70.0", "2.0.0"],
)
@pytest.mark.parametrize("place", PLACES)
def test_another_version_is_refused_wherever_it_lies(tmp_path: Path, version: str, place: str) -> None:
    path = fake(tmp_path / place, f"echo 'Version: {version}'")
    with pytest.raises(StartError) as refusal:
        find(path if place == PLACES[0] else None)
    text = str(refusal.value)
    assert text == f"{path} is OPA {version}: this sidecar needs 1.22.4 or 1.22.2; name another one with --opa-bin"


@pytest.mark.parametrize(
    "script", ["echo hello", "echo '1.22.4'", "echo 'Rego Version: 1.22.4'", "exit 3", "printf '\\377\\376'"]
)
def test_a_program_that_does_not_say_its_version_is_refused(tmp_path: Path, script: str) -> None:
    with pytest.raises(StartError, match="does not say its version, so it is no opa binary"):
        find(fake(tmp_path / "opa", script))


def test_a_file_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot run .*/opa: Permission denied"):
        find(fake(tmp_path / "opa", mode=0o644))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot run .*: Permission denied"):
        find(tmp_path)


def test_a_program_that_does_not_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "_SECONDS", 0.2)
    with pytest.raises(StartError, match=r"cannot run .*/opa: it does not end"):
        find(fake(tmp_path / "opa", "exec sleep 600"))


def test_the_opa_of_this_checkout_is_a_good_one() -> None:
    assert version_of(OPA) in GOOD_VERSIONS


def test_a_compiled_policy_passes_the_strict_check() -> None:
    check(OPA, bundle_of("default: deny\ntools: {t: {rules: [{action: deny}]}}").files)


def test_what_is_wrong_with_rego_is_said_with_its_place_in_the_bundle() -> None:
    with pytest.raises(
        StartError, match=r"policy: .* intercept/x\.rego:3: rego_unsafe_var_error: var unknown is unsafe"
    ):
        check(OPA, {"intercept/x.rego": "package intercept.x\n\nallow if input.tool == unknown\n"})


@pytest.mark.slow
@pytest.mark.parametrize(("tools", "rules"), [(9000, 1), (900, 10), (1, 9000)])
def test_nine_thousand_rules_are_checked_in_time_whatever_tools_they_are_of(tools: int, rules: int) -> None:
    rule = "{conditions: [{path: args.a, op: lte, value: 5}]}"
    entries = "".join(f"  tool_{at}: {{rules: [{', '.join([rule] * rules)}]}}\n" for at in range(tools))
    check(OPA, bundle_of(f"tools:\n{entries}").files)


def test_a_policy_that_takes_opa_too_long_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "_POLICY_SECONDS", 0.2)
    opa = fake(tmp_path / "opa", "exec sleep 600")
    for look in (lambda: check(opa, {}), lambda: evaluate(opa, "data", "{}", {}), lambda: bad_patterns(opa, ["a"])):
        with pytest.raises(StartError, match=r"^opa (check|eval) had not looked .* after 0.2 s: write fewer rules, or"):
            look()


def test_strict_means_that_an_unused_variable_is_an_error() -> None:
    with pytest.raises(StartError, match="assigned var unused unused"):
        check(OPA, {"x.rego": "package intercept.x\n\nallow if {\n\tunused := 1\n}\n"})


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=x)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(", "missing closing ): `(`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ('"\\p{Nope}', "invalid character class range: `\\p{Nope}`"),
        ("x{1001}", "invalid repeat count: `{1001}`"),
    ],
)
def test_a_bad_pattern_is_named_with_the_reason_of_the_engine(pattern: str, reason: str) -> None:
    assert bad_patterns(OPA, [pattern, "^fine$"]) == {pattern: reason}


def test_good_patterns_have_nothing_wrong_with_them() -> None:
    assert bad_patterns(OPA, ["", "^a.*z$", '"`\\\\', "\n", "é\u202e", "{{x}}", "$input", "(?i)x"]) == {}


def test_without_patterns_the_engine_is_not_asked() -> None:
    assert bad_patterns(Path("/no/such/opa"), []) == {}


def test_a_query_without_a_value_is_an_error() -> None:
    with pytest.raises(StartError, match="opa cannot evaluate"):
        evaluate(OPA, "input.nothing", "{}")
