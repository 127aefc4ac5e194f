"""Bundles from elsewhere: a good one becomes the policy that was built, and each bad one is refused with what to do."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.distribution.admission import MORE, Tried, admit, tried
from sidecar.distribution.source import MAX_SIZE
from sidecar.engine import custom_rego
from sidecar.engine.sign import of_publisher, signed
from sidecar.errors import BundleRefused, StartError
from sidecar.events import BUNDLE_REFUSALS
from sidecar.ledger.protocol import MAX_SERIAL
from sidecar.policy.archive import MANIFEST, SIGNATURES
from sidecar.policy.bundle import FACTS, FORMAT, SOURCES, STAMP, Bundle, build, library
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.read import read
from tests.engine.policy_keys import EC, NOON, OTHER_RSA, RSA, certificate, private_pem, public_pem
from tests.policy.archives import archived, member, packed
from tests.support import OPA
from tests.support.fuzzing import examples

Files = dict[str, str]

POLICY = "tools: {t: {rules: [{name: small, conditions: [{path: args.n, op: lte, value: 5}]}]}}\n"
HAND_WRITTEN = """package intercept.custom

violations contains {"rule": "no sevens", "reason": "Sevens are bad luck"} if input.arguments.n == 7
"""
SIGNER = of_publisher(private_pem(RSA), "--key")
KEYS = (public_pem(RSA),)


def files_of(policy: str = POLICY, serial: int = 3, custom: Files | None = None, commit: str = "abc123") -> Files:
    """The files of a bundle as `policy build` makes them."""
    model, _ = merge([read(policy, "policy.yaml")[0]])
    checked = custom_rego.check(OPA, custom) if custom else None
    return build(compile_policy(model, checked), serial, commit).files


GOOD = files_of()
CUSTOM = files_of(custom={"intercept/custom/sevens.rego": HAND_WRITTEN})


def admitted(files: Files, keys: tuple[str, ...] = KEYS, *, sign: bool = True) -> Bundle:
    return admit(packed(signed(files, SIGNER) if sign else files), keys=keys, opa=OPA, name="oci://r/policy")


def refusal(data: bytes | Files, keys: tuple[str, ...] = KEYS, opa: Path = OPA) -> tuple[str, str]:
    """The kind of a refusal and why, without the name in front and what to do behind."""
    archive = data if isinstance(data, bytes) else packed(signed(data, SIGNER))
    with pytest.raises(BundleRefused) as caught:
        admit(archive, keys=keys, opa=opa, name="oci://r/policy")
    kind, text = caught.value.kind, str(caught.value)
    assert kind in BUNDLE_REFUSALS
    assert text.isprintable()
    assert text.startswith("oci://r/policy: ")
    assert text.endswith(f"; {MORE[kind]}")
    return kind, text.removeprefix("oci://r/policy: ").removesuffix(f"; {MORE[kind]}")


def in_json(path: str, **members: Any) -> Callable[[Files], Files]:
    """Other members of an object in JSON; None takes one out."""

    def changed(files: Files) -> Files:
        value = {**json.loads(files[path]), **members}
        return {**files, path: json.dumps({name: said for name, said in value.items() if said is not None})}

    return changed


def in_metadata(**members: Any) -> Callable[[Files], Files]:
    return lambda files: in_json(MANIFEST, metadata={**json.loads(files[MANIFEST])["metadata"], **members})(files)


def revised(files: Files) -> Files:
    """The files under the revision that they have."""
    other = library().keys() | {MANIFEST, SIGNATURES, STAMP, SOURCES}
    digest = hashlib.sha256(f"format {FORMAT}".encode())
    for path, text in sorted(files.items()):
        if path not in other:
            digest.update(f"{path}\0{len(text.encode())}\0{text}".encode())
    return in_json(MANIFEST, revision=digest.hexdigest()[:32])(files)


# Good ones.


@pytest.mark.parametrize("files", [GOOD, CUSTOM], ids=["generated", "hand-written"])
def test_a_good_bundle_becomes_what_was_built(files: Files) -> None:
    bundle = admitted(files)
    assert bundle.files == files
    assert (bundle.serial, bundle.commit, bundle.revision) == (3, "abc123", json.loads(files[MANIFEST])["revision"])


def test_without_a_key_nobody_has_to_have_signed_it() -> None:
    assert admitted(GOOD, ()).files == admitted(GOOD, (), sign=False).files == GOOD


def test_each_of_several_keys_counts() -> None:
    for key in (RSA, EC):
        data = packed(signed(GOOD, of_publisher(private_pem(key), "--key")))
        assert admit(data, keys=(public_pem(OTHER_RSA), public_pem(EC), public_pem(RSA)), opa=OPA, name="x").serial == 3


def test_the_library_that_decides_is_ours_whatever_a_bundle_brings() -> None:
    path = "intercept/decision.rego"
    evil = 'package intercept\n\ndecision := object.union(data.intercept.bundle.allow, {"action": "allow"})\n'
    for files in ({**GOOD, path: evil}, {name: text for name, text in GOOD.items() if name not in library()}):
        assert admitted(files).files == GOOD


def test_the_stamp_and_the_manifest_are_made_anew() -> None:
    stamp = in_json(STAMP, serial=99, revision="other", allow={"action": "allow"})
    manifest = in_metadata(sidecar="9.9.9", note="x")
    assert admitted(manifest(stamp(GOOD))).files == GOOD
    assert admitted({path: text for path, text in GOOD.items() if path != STAMP}).files == GOOD


def test_the_sources_reach_no_engine() -> None:
    assert admitted({**GOOD, SOURCES: '{"policies": [{"file": "p.yaml", "text": "x"}]}'}).files == GOOD


# Whose it is.


def test_what_nobody_signed_or_somebody_else_is_refused() -> None:
    assert refusal(packed(GOOD))[0] == "unsigned"
    assert refusal(GOOD, (public_pem(OTHER_RSA),))[0] == "signature"
    assert refusal(GOOD, (public_pem(EC),))[0] == "signature"


def test_a_signature_over_other_files_is_refused() -> None:
    other = signed(files_of("default: allow\n"), SIGNER)
    assert refusal(packed({**other, SIGNATURES: signed(GOOD, SIGNER)[SIGNATURES]}))[0] == "signature"


def test_a_certificate_that_expired_while_it_was_used_verifies_no_more() -> None:
    kind, why = refusal(GOOD, (certificate(RSA, since=-2, until=-1),))
    assert (kind, why) == ("signature", "the certificate no. 1 of --bundle-key expired on 2023-11-13")
    assert NOON < 1_800_000_000


def test_what_is_signed_is_looked_at_all_the_same() -> None:
    data = archived([member(path.encode(), text.encode()) for path, text in signed(GOOD, SIGNER).items()] * 2)
    assert refusal(data)[0] == "broken"


@examples(40)
@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_no_byte_of_a_signed_bundle_can_be_changed_so_that_another_policy_is_admitted(place: int, by: int) -> None:
    tar = bytearray(gzip.decompress(packed(signed(GOOD, SIGNER))))
    tar[place % len(tar)] ^= by
    with suppress(BundleRefused):
        assert admit(gzip.compress(tar, 1), keys=KEYS, opa=OPA, name="x").files == GOOD


# What is in it.


@pytest.mark.parametrize(
    ("change", "kind", "why"),
    [
        (in_metadata(format=FORMAT + 1), "format", f"version .* built it in format {FORMAT + 1}, and this one reads"),
        (in_metadata(format=None), "format", "built it in no format"),
        (in_metadata(format=True), "format", "built it in no format"),
        (in_metadata(format=1.0), "format", "built it in no format"),
        (in_metadata(format=FORMAT + 1, sidecar=["\x1b[2J"]), "format", "something else than a sidecar built it"),
        (in_json(MANIFEST, metadata=None), "broken", "no metadata"),
        (in_json(MANIFEST, metadata=[]), "broken", "no metadata"),
        (in_json(MANIFEST, revision=None), "broken", "revision is none"),
        (in_json(MANIFEST, revision="0" * 32), "broken", "not what its revision 0{32} names"),
        (in_json(MANIFEST, revision=["a"]), "broken", "revision is none"),
        (in_json(MANIFEST, roots=None), "foreign", "owns something else"),
        (in_json(MANIFEST, roots=[]), "foreign", "owns something else"),
        (in_json(MANIFEST, roots=[""]), "foreign", "owns something else"),
        (in_json(MANIFEST, roots=["intercept", "system"]), "foreign", "owns something else"),
        (in_json(MANIFEST, roots="intercept"), "foreign", "owns something else"),
        (in_json(MANIFEST, rego_version=0), "foreign", "another version of Rego"),
        (in_json(MANIFEST, rego_version=True), "foreign", "another version of Rego"),
        (in_json(MANIFEST, wasm=[{"entrypoint": "x", "module": "/policy.wasm"}]), "foreign", 'speaks of "wasm"'),
        (in_json(MANIFEST, file_rego_versions={"/x.rego": 0}), "foreign", 'speaks of "file_rego_versions"'),
        (lambda files: {**files, MANIFEST: "[]"}, "broken", "no metadata"),
        (lambda files: {path: text for path, text in files.items() if path != MANIFEST}, "broken", "no manifest"),
        (lambda files: {path: text for path, text in files.items() if path != FACTS}, "broken", f"no {FACTS}"),
        (lambda files: {**files, "data.json": "{}"}, "foreign", "holds data.json"),
        (lambda files: {**files, "system/authz.rego": "package system.authz\n"}, "foreign", "holds system/authz"),
        (lambda files: {**files, "intercept/data.json": "{}"}, "foreign", "holds intercept/data.json"),
        (lambda files: {**files, "intercept/more.rego": "package intercept\n"}, "foreign", "holds intercept/more"),
        (lambda files: {**files, "intercept/policy/data.json": "{}"}, "foreign", "holds intercept/policy/data"),
        (lambda files: {**files, "intercept/policy/a/b.rego": "package x\n"}, "foreign", "holds intercept/policy/a"),
        (lambda files: {**files, "intercept/facts/more/data.json": "{}"}, "foreign", "holds intercept/facts/more"),
        (lambda files: {**files, "intercept/exact/more.rego": "package x\n"}, "foreign", "holds intercept/exact/more"),
        (lambda files: {**files, "Intercept/policy/t.rego": "package x\n"}, "broken", "twice, as far as some"),
        (lambda files: {**files, "patch.json": "{}"}, "foreign", 'holds "patch.json"'),
        (lambda files: {**files, "policy.wasm": "x"}, "foreign", 'holds "policy.wasm"'),
    ],
)
def test_a_bundle_that_is_not_as_it_should_be_is_refused(change: Callable[[Files], Files], kind: str, why: str) -> None:
    said = refusal(packed(change(GOOD)), ())
    assert (said[0], re.search(why, said[1]) is not None) == (kind, True), said


@pytest.mark.parametrize(
    "serial", [None, 0, -1, True, 1.0, 1.5, "1", [1], MAX_SERIAL + 1, 2**63, 2**64, 10**30, 10**400]
)
def test_a_serial_is_a_whole_number_that_every_reader_reads_alike(serial: Any) -> None:
    assert refusal(in_metadata(serial=serial)(GOOD))[0] == "broken"


@pytest.mark.parametrize("serial", [1, MAX_SERIAL])
def test_the_first_and_the_last_serial_are_serials(serial: int) -> None:
    assert admitted(in_metadata(serial=serial)(GOOD)).serial == serial


@pytest.mark.parametrize("commit", [5, ["a"], "a b", "a\n", "\x1b[2J", "é", "-x", "a" * 101])
def test_a_commit_is_a_short_plain_name(commit: Any) -> None:
    assert refusal(in_metadata(commit=commit)(GOOD))[0] == "broken"


@pytest.mark.parametrize(
    "facts",
    [
        "", "{", "[]", "null", "{}", '{"tools": {}}', '{"tools": 5}', '{"tools": {}, "tools": {}}', "1e400", "NaN",
        '{"a": 1e400}', "[" * 300, '{"a": "\\ud800"}', "\ufeff{}",
    ],
)  # fmt: skip
def test_facts_that_cannot_be_read_are_refused(facts: str) -> None:
    kind, why = refusal(packed({**GOOD, FACTS: facts}), ())
    assert (kind, FACTS in why) == ("broken", True)


@pytest.mark.parametrize("member_of_facts", sorted(json.loads(GOOD[FACTS])))
def test_facts_of_which_a_part_is_missing_or_of_another_type_are_refused(member_of_facts: str) -> None:
    others: tuple[Any, ...] = (None, 5, [5], {"t": [5]})
    for other in others:
        kind, _ = refusal(packed(revised(in_json(FACTS, **{member_of_facts: other})(GOOD))), ())
        assert kind in ("broken", "foreign")


def test_facts_that_say_more_than_our_library_knows_are_refused() -> None:
    kind, why = refusal(packed(revised(in_json(FACTS, another_day="x")(GOOD))), ())
    assert (kind, "is not what the library expects" in why) == ("foreign", True)


@pytest.mark.parametrize("text", ["package intercept\n\ndecision := {}\n", "package system.authz\n\nallow := true\n"])
def test_a_generated_file_of_another_package_is_foreign_whoever_signed_it(text: str) -> None:
    kind, why = refusal(revised({**GOOD, "intercept/policy/t.rego": text}))
    assert (kind, why.startswith("intercept/policy/t.rego in it ")) == ("foreign", True)


def test_a_module_that_could_send_arguments_away_is_refused() -> None:
    text = GOOD["intercept/policy/t.rego"]
    evil = f'{text}\npasses["x"] if http.send({{"method": "get", "url": input.arguments.n}})\n'
    assert refusal(revised({**GOOD, "intercept/policy/t.rego": evil}))[0] == "trial"


# Hand-written Rego.


@pytest.mark.parametrize(
    "text",
    [
        "package intercept\n\nviolations := set()\n", "package intercept.policy\n\nproved := true\n",
        "package intercept.facts\n\nmode := \"monitor\"\n", "package system.authz\n\nallow := true\n",
        'package intercept.custom\n\nviolations contains x if { x := http.send({"url": "http://e"}) }\n',
        "package intercept.custom\n\nviolations contains {",
    ],
)  # fmt: skip
def test_hand_written_rego_that_could_do_more_than_refuse_is_foreign_whoever_signed_it(text: str) -> None:
    kind, why = refusal(revised({**CUSTOM, "intercept/custom/sevens.rego": text}))
    assert kind == "foreign"
    assert why.startswith("its hand-written Rego is refused: rego/custom/sevens.rego:")


def test_facts_that_know_nothing_of_the_hand_written_rego_are_refused() -> None:
    less = in_json(FACTS, custom=None)(CUSTOM)
    assert refusal(revised(less)) == ("broken", "its facts say something else of its hand-written Rego than it is")
    blind = json.loads(CUSTOM[FACTS])["custom"]
    blind["reads"]["paths"] = []
    assert refusal(revised(in_json(FACTS, custom=blind)(CUSTOM)))[0] == "broken"
    more = in_json(FACTS, custom=json.loads(CUSTOM[FACTS])["custom"])(GOOD)
    assert refusal(revised(more))[0] == "broken"


def test_hand_written_rego_beside_proofs_that_do_not_ask_it_is_foreign() -> None:
    proofs = {path: text for path, text in GOOD.items() if path.startswith("intercept/policy/")}
    kind, why = refusal(revised({**CUSTOM, **proofs}))
    assert (kind, "whatever the hand-written Rego says" in why) == ("foreign", True)


# The machine.


def test_a_bundle_that_is_too_large_is_refused() -> None:
    assert refusal(bytes(MAX_SIZE + 1), ())[0] == "too_large"
    assert refusal(gzip.compress(bytes(64 << 20), 1), ())[0] == "too_large"


def test_an_opa_that_cannot_be_run_is_no_fault_of_the_bundle(tmp_path: Path) -> None:
    assert refusal(GOOD, opa=tmp_path / "none")[0] == "unavailable"
    silent = tmp_path / "opa"
    silent.write_text("#!/bin/sh\nexit 1\n")
    silent.chmod(stat.S_IRWXU)
    assert refusal(GOOD, opa=silent)[0] in ("unavailable", "broken")


def test_a_key_that_is_none_is_said_as_such() -> None:
    with pytest.raises(StartError, match=r"no\. 1 of --bundle-key"):
        admit(packed(GOOD), keys=("x",), opa=OPA, name="x")


# What was tried once.


@pytest.fixture(scope="module")
def remembered() -> Tried:
    """Admissions after that of two good bundles."""
    found = tried()
    for files in (GOOD, CUSTOM):
        admit(packed(signed(files, SIGNER)), keys=KEYS, opa=OPA, name="r", tried=found)
    return found


@pytest.mark.parametrize("files", [GOOD, CUSTOM], ids=["generated", "hand-written"])
def test_what_opa_took_is_not_tried_again_under_any_serial(files: Files, remembered: Tried) -> None:
    """Whoever has no key can offer what was signed once, packed otherwise, as often as he likes."""
    for serial in (3, 4):
        again = in_metadata(serial=serial)(files)
        nowhere = admit(packed(signed(again, SIGNER)), keys=KEYS, opa=Path("/no/opa"), name="r", tried=remembered)
        assert nowhere == admitted(again)


@examples(25)
@given(
    files=st.sampled_from([GOOD, CUSTOM]),
    place=st.integers(0, 99),
    more=st.sampled_from([" ", "\n", "# x\n", "x := 1\n", "}", "x := http.send({})\n"]),
    serial=st.integers(0, 9),
    steps=st.lists(st.sampled_from(["append", "loosen", "add", "remove", "serial", "revise"]), max_size=3),
)
def test_what_was_tried_changes_no_answer(
    remembered: Tried, files: Files, place: int, more: str, serial: int, steps: list[str]
) -> None:
    """The adversary: anything near what was taken, signed by the right key, gets the answer that it gets without."""
    names = sorted(path for path in files if path.endswith((".rego", FACTS)))
    name = names[place % len(names)]
    for step in steps:
        files = _changed(files, step, name, more, serial)
    whole = packed(signed(files, SIGNER))
    assert _outcome(whole, remembered) == _outcome(whole, None)


def _changed(files: Files, step: str, name: str, more: str, serial: int) -> Files:
    match step:
        case "append":
            return {**files, name: files.get(name, "") + more}
        case "loosen":
            facts = files.get(FACTS, "").replace('"deny"', '"allow"').replace('"enforce"', '"monitor"')
            return {**files, FACTS: facts}
        case "add":
            return {**files, "intercept/custom/more.rego": f"package intercept.custom\n\n{more}"}
        case "remove":
            return {path: text for path, text in files.items() if path != name}
        case "serial":
            return in_metadata(serial=serial)(files)
        case _:
            return revised(files)


def _outcome(data: bytes, kept: Tried | None) -> object:
    try:
        return admit(data, keys=KEYS, opa=OPA, name="r", tried=kept)
    except BundleRefused as error:
        return error.kind, str(error)
