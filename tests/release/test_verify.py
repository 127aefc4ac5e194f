"""A release is believed only as it was built and signed; whatever was done to it afterwards is named."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from deploy.release import envelope, keys, names, statement, sums
from deploy.release.folder import PUBLISHED, digests
from deploy.release.refused import Refused
from deploy.release.source import Source
from deploy.release.statement import Statement
from deploy.release.verify import verify
from tests.release import small
from tests.release.small import IMAGE, MANIFEST, OF_IMAGE, PACKAGES, SDIST, SOURCE, WHEEL, Keys, add_up

OTHER: Final = Source("0.2.0", "deadbeef" * 5, SOURCE.seconds)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def released(tmp_path: Path, ours: Keys) -> Path:
    return small.release(tmp_path / "release", ours.signing)


def refusal(folder: Path, key: Keys | None, commit: str = "") -> str:
    """Why a release is refused."""
    with pytest.raises(Refused) as caught:
        verify(folder, keys.verification(key.public) if key else None, commit)
    return str(caught.value)


def test_a_release_is_believed_as_it_was_built(released: Path, ours: Keys) -> None:
    found = verify(released, keys.verification(ours.public), SOURCE.commit)
    assert found.source == SOURCE
    assert found.signed_with == str(ours.public)
    assert set(found.files) == {path.name for path in released.iterdir()} - {sums.SUMS}
    assert [image.archive for image in found.images] == [IMAGE]


def test_what_publishing_leaves_is_no_part_of_it(released: Path, ours: Keys) -> None:
    (released / PUBLISHED).write_text("registry.example.com/sidecar@sha256:0\n")
    assert PUBLISHED not in verify(released, keys.verification(ours.public)).files


def test_a_release_of_packages_alone_is_believed(released: Path, ours: Keys) -> None:
    for path in released.glob("*-image-*"):
        path.unlink()
    add_up(released)
    assert verify(released, keys.verification(ours.public)).images == ()


def test_without_a_key_nobody_is_said_to_have_signed(tmp_path: Path) -> None:
    unsigned = small.release(tmp_path / "release", None)
    assert verify(unsigned, None).signed_with == ""


def test_an_unsigned_release_is_refused_where_a_key_is_given(tmp_path: Path, ours: Keys) -> None:
    unsigned = small.release(tmp_path / "release", None)
    assert "is not signed" in refusal(unsigned, ours)


@pytest.mark.parametrize("kind", ["P-256", "RSA"])
def test_either_kind_of_key_signs_and_verifies(tmp_path: Path, kind: str) -> None:
    pair = Keys(tmp_path / "keys", kind)
    assert verify(small.release(tmp_path / "release", pair.signing), keys.verification(pair.public)).signed_with


@pytest.mark.parametrize("name", [WHEEL, SDIST, IMAGE, PACKAGES, OF_IMAGE, "intercept-sidecar-0.2.0-amd64.cdx.json"])
def test_one_byte_that_was_changed_is_named(released: Path, ours: Keys, name: str) -> None:
    data = bytearray((released / name).read_bytes())
    data[len(data) // 2] ^= 1
    (released / name).write_bytes(data)
    assert refusal(released, ours).startswith(f"{name} is not the file that SHA256SUMS names")


@pytest.mark.parametrize("name", [WHEEL, SDIST, IMAGE, "intercept-sidecar-0.2.0-amd64.cdx.json"])
def test_a_file_that_was_changed_with_its_sum_is_named(released: Path, ours: Keys, name: str) -> None:
    (released / name).write_bytes(b"another")
    add_up(released)
    assert refusal(released, ours).startswith(f"{name} is another file than")


def test_an_archive_of_another_image_than_its_provenance_names_by_digest_is_named(released: Path, ours: Keys) -> None:
    (released / IMAGE).write_bytes(small.image(b"eve"))
    found = digests(released)
    subjects = {name: found[name] for name in (IMAGE, names.image_sbom("0.2.0", "amd64"))} | {MANIFEST: "0" * 64}
    small.provenance(released, Statement("image", SOURCE, subjects, (), {}), ours.signing)
    add_up(released)
    assert refusal(released, ours) == f"{IMAGE} holds another image than {OF_IMAGE} speaks of"


@pytest.mark.parametrize("subjects", [{}, {MANIFEST: "0" * 64}])
def test_the_provenance_of_an_image_that_speaks_of_no_archive_is_named(
    released: Path, ours: Keys, subjects: dict[str, str]
) -> None:
    for path in released.glob("*-image-*"):
        path.unlink()
    small.provenance(released, Statement("image", SOURCE, subjects, (), {}), ours.signing)
    add_up(released)
    assert refusal(released, ours) == f"{OF_IMAGE} speaks of no {IMAGE}"


@pytest.mark.parametrize("data", [b"", b"no tar", small.image()[:1500], small.sdist()])
def test_an_archive_that_is_none_of_one_image_is_named(released: Path, ours: Keys, data: bytes) -> None:
    (released / IMAGE).write_bytes(data)
    found = digests(released)
    subjects = {name: found[name] for name in (IMAGE, names.image_sbom("0.2.0", "amd64"))} | {MANIFEST: "0" * 64}
    small.provenance(released, Statement("image", SOURCE, subjects, (), {}), ours.signing)
    add_up(released)
    assert refusal(released, ours) == f"{IMAGE} is no archive of one image"


def test_an_archive_whose_manifest_is_not_the_one_that_its_index_names_is_named(released: Path, ours: Keys) -> None:
    data = small.image().replace(b'"schemaVersion": 2, "mediaType"', b'"schemaVersion": 3, "mediaType"')
    assert data != small.image()
    (released / IMAGE).write_bytes(data)
    found = digests(released)
    subjects = {name: found[name] for name in (IMAGE, names.image_sbom("0.2.0", "amd64"))} | {MANIFEST: "0" * 64}
    small.provenance(released, Statement("image", SOURCE, subjects, (), {}), ours.signing)
    add_up(released)
    assert refusal(released, ours) == f"{IMAGE} holds another manifest than its index names"


def test_a_provenance_that_is_replaced_while_it_is_verified_is_named(
    released: Path, ours: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = small.release(tmp_path / "other", ours.signing, OTHER)

    def replaced(folder: Path) -> dict[str, str]:
        found = digests(folder)
        shutil.copy(other / PACKAGES, folder)
        return found

    monkeypatch.setattr("deploy.release.verify.digests", replaced)
    assert refusal(released, ours) == f"{PACKAGES} changed while it was verified"


def test_what_an_attacker_writes_is_shown_without_control_characters(released: Path, ours: Keys) -> None:
    rewritten(released, PACKAGES, lambda it: it.update({"payloadType": "\x1b[2J" + "x" * 5000}))
    said = refusal(released, ours)
    assert "\\u001b[2J" in said
    assert said.isprintable()
    assert len(said) < 500


@pytest.mark.parametrize("name", [WHEEL, SDIST, IMAGE, PACKAGES])
def test_a_file_that_was_taken_out_is_named(released: Path, ours: Keys, name: str) -> None:
    (released / name).unlink()
    assert refusal(released, ours) == f"{name} is in SHA256SUMS and not there"


@pytest.mark.parametrize("name", [WHEEL, SDIST, "intercept-sidecar-0.2.0-image-amd64.cdx.json"])
def test_a_file_that_was_taken_out_with_its_sum_is_named(released: Path, ours: Keys, name: str) -> None:
    (released / name).unlink()
    add_up(released)
    assert f"{name} is in intercept-sidecar-0.2.0" in refusal(released, ours)


def test_a_release_without_the_provenance_of_its_packages_is_refused(released: Path, ours: Keys) -> None:
    (released / PACKAGES).unlink()
    add_up(released)
    assert "no provenance of packages is there" in refusal(released, ours)


def test_an_image_without_its_provenance_is_named(released: Path, ours: Keys) -> None:
    (released / OF_IMAGE).unlink()
    add_up(released)
    assert refusal(released, ours).startswith("intercept-sidecar-0.2.0-image-amd64.cdx.json is in no provenance")


def test_a_wheel_that_was_added_is_named(released: Path, ours: Keys) -> None:
    added = WHEEL.replace("0.2.0", "0.2.1")
    (released / added).write_bytes(b"eve")
    assert refusal(released, ours) == f"{added} is not in SHA256SUMS: it is no part of this release"


def test_a_wheel_that_was_added_with_its_sum_is_named(released: Path, ours: Keys) -> None:
    added = WHEEL.replace("0.2.0", "0.2.1")
    (released / added).write_bytes(b"eve")
    add_up(released)
    assert refusal(released, ours) == f"{added} is in no provenance: nothing shows what it was made from"


def test_a_file_under_the_name_of_a_manifest_is_named(released: Path, ours: Keys) -> None:
    (released / MANIFEST).write_bytes(b"eve")
    add_up(released)
    assert refusal(released, ours).startswith(f"{MANIFEST} is a file, and {OF_IMAGE} speaks of")


def test_a_subject_of_two_provenances_is_named(tmp_path: Path, ours: Keys) -> None:
    released = small.release(tmp_path / "release", ours.signing)
    said = statement.read(envelope.opened((released / OF_IMAGE).read_bytes(), OF_IMAGE).payload, OF_IMAGE)
    both = replace(said, subjects={**said.subjects, WHEEL: digests(released)[WHEEL]})
    small.provenance(released, both, ours.signing)
    add_up(released)
    assert refusal(released, ours).startswith(f"{WHEEL} is in ")


def test_the_provenance_of_another_commit_is_named(tmp_path: Path, ours: Keys) -> None:
    released = small.release(tmp_path / "release", ours.signing, OTHER)
    said = refusal(released, ours, SOURCE.commit)
    assert OTHER.commit in said
    assert SOURCE.commit in said


def test_an_image_of_another_commit_is_named(tmp_path: Path, ours: Keys) -> None:
    released = small.release(tmp_path / "release", ours.signing)
    other = small.release(tmp_path / "other", ours.signing, OTHER)
    shutil.copy(other / OF_IMAGE, released)
    add_up(released)
    assert "are of different versions or commits" in refusal(released, ours)


def test_another_key_is_named(released: Path, theirs: Keys) -> None:
    assert refusal(released, theirs).endswith(f"was not signed with the key {theirs.public}, or was changed afterwards")


def test_a_release_that_somebody_else_signed_is_refused(tmp_path: Path, ours: Keys, theirs: Keys) -> None:
    released = small.release(tmp_path / "release", theirs.signing)
    document = json.loads((released / PACKAGES).read_text())
    named = json.loads((small.release(tmp_path / "other", ours.signing) / PACKAGES).read_text())
    document["signatures"][0]["keyid"] = named["signatures"][0]["keyid"]  # a hint, which nobody may believe
    (released / PACKAGES).write_text(json.dumps(document))
    add_up(released)
    assert "was not signed with the key" in refusal(released, ours)


def rewritten(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change an envelope, and write the sums again."""
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))
    add_up(folder)


def changes() -> Iterator[tuple[str, Callable[[dict[str, Any]], None], str]]:
    """What an attacker does to an envelope, and what is said of it."""
    payload = base64.b64encode(b'{"_type": "x"}').decode()
    yield "another payload", lambda it: it.update(payload=payload), "was not signed with the key"
    yield "another type", lambda it: it.update(payloadType="text/plain"), "has a payload of type text/plain: it must be"
    yield "no type", lambda it: it.pop("payloadType"), "is no DSSE envelope"
    yield "no signature", lambda it: it.update(signatures=[]), "is not signed"
    yield "an empty signature", lambda it: it["signatures"][0].update(sig=""), "must be base64"
    yield "a signature of zeros", lambda it: it["signatures"][0].update(sig="AAAA"), "was not signed with the key"
    yield "a member more", lambda it: it.update(payloads=[]), "is no DSSE envelope"
    yield "blanks in the payload", lambda it: it.update(payload=it["payload"] + "\n"), "must be base64"
    yield "many signatures", lambda it: it.update(signatures=it["signatures"] * 9), "has more than 8 signatures"


@pytest.mark.parametrize(("what", "change", "said"), list(changes()), ids=[what for what, _, _ in changes()])
@pytest.mark.parametrize("name", [PACKAGES, OF_IMAGE])
def test_an_envelope_that_was_changed_is_named(
    released: Path, ours: Keys, name: str, what: str, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    rewritten(released, name, change)
    found = refusal(released, ours)
    assert found.startswith(name), what
    assert said in found


def test_a_signature_for_another_type_does_not_count(released: Path, ours: Keys) -> None:
    document = json.loads((released / PACKAGES).read_text())
    payload = base64.b64decode(document["payload"])
    raw = ours.signing.sign(b"DSSEv1 10 text/plain %d %s" % (len(payload), payload))
    document["signatures"] = [{"sig": base64.b64encode(envelope.in_der(raw)).decode()}]
    (released / PACKAGES).write_text(json.dumps(document))
    add_up(released)
    assert "was not signed with the key" in refusal(released, ours)


@pytest.mark.parametrize("text", ["YR==", "YQ", "YQ=", "Y_==", "YQ==YQ=="])
def test_a_payload_that_can_be_written_in_two_ways_is_refused(text: str) -> None:
    document = {"payload": text, "payloadType": envelope.PAYLOAD_TYPE, "signatures": []}
    assert envelope.opened(json.dumps({**document, "payload": "YQ=="}).encode(), "x").payload == b"a"
    with pytest.raises(Refused, match="payload and signatures must be base64"):
        envelope.opened(json.dumps(document).encode(), "x")


def test_an_envelope_with_a_member_twice_is_refused(released: Path, ours: Keys) -> None:
    text = (released / PACKAGES).read_text()
    (released / PACKAGES).write_text(text.replace('"payloadType"', '"payload": "e30=", "payloadType"', 1))
    add_up(released)
    assert f"{PACKAGES} is no DSSE envelope" in refusal(released, ours)


@pytest.mark.parametrize(
    ("member", "value"),
    [("_type", "https://in-toto.io/Statement/v0.1"), ("predicateType", "https://slsa.dev/provenance/v0.2"),
     ("subject", []), ("extra", 1)],
)  # fmt: skip
def test_a_signed_statement_of_another_kind_does_not_count(
    released: Path, ours: Keys, member: str, value: object
) -> None:
    payload = json.loads(envelope.opened((released / PACKAGES).read_bytes(), PACKAGES).payload)
    payload[member] = value
    data = json.dumps(payload, indent=2, sort_keys=True).encode() + b"\n"
    (released / PACKAGES).write_bytes(envelope.sealed(data, ours.signing))
    add_up(released)
    assert refusal(released, ours)


def materials(statement: dict[str, Any]) -> Any:
    """What a statement says that all was made from."""
    return statement["predicate"]["buildDefinition"]["resolvedDependencies"]


@pytest.mark.parametrize(
    "change",
    [
        lambda it: materials(it)[0]["digest"].update(gitCommit="deadbeef" * 5),
        lambda it: materials(it).pop(0),
        lambda it: materials(it).clear(),
        lambda it: it["subject"].append({"name": it["subject"][0]["name"], "digest": {"sha256": "0" * 64}}),
        lambda it: it["subject"].reverse(),
    ],
    ids=["another source", "no source", "made from nothing", "a subject twice", "another order"],
)
def test_a_signed_statement_that_is_not_written_as_ours_does_not_count(
    released: Path, ours: Keys, change: Callable[[dict[str, Any]], None]
) -> None:
    said = json.loads(envelope.opened((released / PACKAGES).read_bytes(), PACKAGES).payload)
    change(said)
    data = json.dumps(said, indent=2, sort_keys=True).encode() + b"\n"
    (released / PACKAGES).write_bytes(envelope.sealed(data, ours.signing))
    add_up(released)
    assert refusal(released, ours) == f"{PACKAGES} is not written as `make release` writes it"


def test_a_signed_statement_of_another_build_does_not_count(released: Path, ours: Keys) -> None:
    text = envelope.opened((released / PACKAGES).read_bytes(), PACKAGES).payload.decode()
    (released / PACKAGES).write_bytes(envelope.sealed(text.replace("release:1", "bundle:1").encode(), ours.signing))
    add_up(released)
    assert "has the buildType urn:intercept-sidecar:bundle:1: it must be" in refusal(released, ours)


def test_the_provenance_of_packages_under_the_name_of_an_image_does_not_count(released: Path, ours: Keys) -> None:
    shutil.copy(released / PACKAGES, released / OF_IMAGE)
    add_up(released)
    assert "under another's name" in refusal(released, ours)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "x\n", "0  a\n", f"{'0' * 64} *a\n", f"{'0' * 64}  ../a\n", f"{'0' * 64}  a", f"{'0' * 64}  a\n\n",
     f"{'A' * 64}  a\n", f"{'0' * 64}  b\n{'0' * 64}  a\n", f"{'0' * 64}  a\n{'1' * 64}  a\n", f"{'0' * 64}  a\r\n"],
)  # fmt: skip
def test_sums_that_two_programs_may_read_differently_are_refused(released: Path, ours: Keys, text: str) -> None:
    (released / sums.SUMS).write_bytes(text.encode())
    assert refusal(released, ours).startswith("SHA256SUMS")


def test_a_release_without_sums_is_refused(released: Path, ours: Keys) -> None:
    (released / sums.SUMS).unlink()
    assert "SHA256SUMS cannot be read" in refusal(released, ours)


def test_a_link_instead_of_a_file_is_refused(released: Path, ours: Keys, tmp_path: Path) -> None:
    (released / WHEEL).rename(tmp_path / WHEEL)
    (released / WHEEL).symlink_to(tmp_path / WHEEL)
    assert refusal(released, ours).startswith(f"{WHEEL} is no plain file")


def test_a_pipe_instead_of_a_file_is_refused_and_not_waited_for(released: Path, ours: Keys) -> None:
    (released / WHEEL).unlink()
    os.mkfifo(released / WHEEL)
    assert refusal(released, ours).startswith(f"{WHEEL} is no plain file")


def test_a_folder_in_the_release_is_refused(released: Path, ours: Keys) -> None:
    (released / "more").mkdir()
    assert refusal(released, ours).startswith("more is no plain file")


def test_a_private_key_is_not_taken_for_a_public_one(ours: Keys) -> None:
    with pytest.raises(Refused, match="is a private key"):
        keys.verification(ours.private)


def test_a_private_key_that_everybody_can_read_signs_nothing(tmp_path: Path) -> None:
    pair = Keys(tmp_path)
    pair.private.chmod(0o644)
    with pytest.raises(Refused, match="can be read by everybody"):
        keys.signing(pair.private)
