"""Who may approve, as a YAML file names them: names, digests of tokens, and what each may answer. No HTTP.

```yaml
approvers:
  - name: alice
    token_sha256: 5e884898…        # of a random token: openssl rand -hex 32
    servers: [okx]                 # default: all; `*` and `?` as in policies
    tools: ["cancel_*"]            # default: all
    principal: {subject: alice@example.com, issuer: https://login.example.com}
```

`principal` is who the approver is when she calls tools herself: where a rule says `four_eyes`, nobody approves what he
asked for. Without it the subject that equals the name counts; without its issuer, that subject of any issuer does.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from sidecar.auth.principal import Principal
from sidecar.errors import StartError
from sidecar.ledger.approvals import Asked
from sidecar.policy.names import matcher
from sidecar.policy.nodes import Mapping, Node, Scalar, parse
from sidecar.policy.problem import Place, Problem
from sidecar.policy.read_items import ItemReader, is_null
from sidecar.system import ownership
from sidecar.system.files import Unreadable
from sidecar.system.operator_log import fields, log
from sidecar.system.watched_file import WatchedFile
from sidecar.text import is_plain

MAX_FILE: Final = 256 << 10
MAX_NAME: Final = 64
OPTION: Final = "--approvers-file"

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_OF_NOTHING: Final = hashlib.sha256(b"").digest()
_KEYS: Final = ("name", "token_sha256", "servers", "tools", "principal")
_HOW: Final = 'write token_sha256 and what `printf %s "$TOKEN" | sha256sum` prints'


@dataclass(frozen=True, slots=True)
class Approver:
    """A person or a system that may answer calls of `tools` on `servers`, both names with `*` and `?`."""

    name: str
    servers: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    principal: Principal | None = None

    @property
    def answers_all(self) -> bool:
        """True where no server and no tool is left to others."""
        return self.servers == self.tools == ("*",)

    def may_answer(self, server: str, tool: str) -> bool:
        """True for the calls that this approver may see and answer."""
        return _any(self.servers, server) and _any(self.tools, tool)

    def asked_for(self, asked: Asked) -> bool:
        """True for a call that the approver asked for himself."""
        shown = asked.shown
        if not shown.asker:
            return False
        return _may_be(self.principal or Principal(self.name), Principal(shown.asker, shown.issuer))


class Approvers:
    """The approvers in a file, which is read again whenever it changes.

    A file that is wrong stops the start. Later a wrong one is told of and the one before it stays in force; while
    there is none that can be read, nobody may approve. Raises `StartError`.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = WatchedFile(path, MAX_FILE, clock)
        self._approvers: tuple[tuple[bytes, Approver], ...] = ()
        try:
            content = self._file.changed()
        except Unreadable as problem:
            raise StartError(f"{OPTION}: {problem}") from None
        self._approvers = _approvers(content or b"", path)

    def who(self, token: str) -> Approver | None:
        """The approver that a token is of; None for any other text."""
        return self.of_digest(digest(token))

    def of_digest(self, given: bytes) -> Approver | None:
        """The approver that has the token with this digest now."""
        self._look()
        # All are compared, so the time reveals neither which token it is nor how much of one was right.
        matches = [approver for known, approver in self._approvers if hmac.compare_digest(given, known)]
        return matches[0] if matches else None

    def _look(self) -> None:
        try:
            content = self._file.changed()
        except Unreadable as problem:
            self._approvers = ()
            log.error(
                "%s: %s; nobody may approve until it can be used again", OPTION, problem,
                extra=fields("approvers_unusable", option=OPTION, cause=str(problem)),
            )  # fmt: skip
            return
        if content is None:
            return
        try:
            self._approvers = _approvers(content, self._file.path)
        except StartError as problem:
            log.error(
                "%s: what it says now is wrong, so it changed nothing: %s", OPTION, problem,
                extra=fields("approvers_refused", option=OPTION, cause=str(problem)),
            )  # fmt: skip
        else:
            log.info(
                "%s: %d may approve now", OPTION, len(self._approvers),
                extra=fields("approvers_changed", option=OPTION, count=len(self._approvers)),
            )  # fmt: skip


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _approvers(content: bytes, path: Path) -> tuple[tuple[bytes, Approver], ...]:
    """The approvers of a file, by the digests of their tokens. Raises `StartError` with every problem."""
    ownership.check(path, OPTION, secret=True)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise StartError(f"{path}:1: file: is not UTF-8: write it in UTF-8") from None
    node, problems = parse(text, str(path))
    reader = _Reader(problems)
    found = reader.file(node)
    if problems:
        raise StartError("\n".join(str(problem) for problem in sorted(problems)))
    return found


class _Reader(ItemReader):
    """Reads the file from its nodes, and notes what is wrong."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self._seen: dict[str | bytes, Place] = {}
        self._principals: list[tuple[Principal, Place, bool]] = []

    def file(self, node: Node) -> tuple[tuple[bytes, Approver], ...]:
        if self.problems:
            return ()
        listed = self.mapping(node, "file", ("approvers",)).members.get("approvers")
        items = self.sequence(listed, "approvers")
        if not items and not self.problems:
            self.problem(node.place, "file", "names nobody: write approvers: and below it - name: and token_sha256:")
        return tuple([self.approver(item, f"approvers[{at}]") for at, item in enumerate(items, 1)])

    def approver(self, node: Node, where: str) -> tuple[bytes, Approver]:
        if isinstance(node, Mapping) and "token" in node.members:
            self.problem(node.keys["token"], f"{where}.token", f"a token in clear must not stand here: {_HOW}")
            return b"", Approver("")
        members = self.needed(node, where, _KEYS, ("name", "token_sha256"))
        name = self.name(members.get("name"), f"{where}.name")
        given = self.digest(members.get("token_sha256"), f"{where}.token_sha256")
        servers = self.names(members.get("servers"), f"{where}.servers")
        tools = self.names(members.get("tools"), f"{where}.tools")
        principal = self.principal(members.get("principal"), f"{where}.principal")
        if name and "principal" not in members:
            self.one_person(Principal(name), members["name"], f"{where}.name", is_named=False)
        return given, Approver(name, servers, tools, principal)

    def name(self, node: Node | None, where: str) -> str:
        name = self.text(node, where)
        if name is None or node is None:
            return ""
        if not name.strip() or name != name.strip() or not is_plain(name) or len(name) > MAX_NAME:
            self.problem(
                node.place, where, f"write a name of 1 to {MAX_NAME} visible characters, without blanks at its ends"
            )
        self.only_once(_folded(name), node, where, "another approver has this name: give each a name of its own")
        return name

    def digest(self, node: Node | None, where: str) -> bytes:
        if node is None or is_null(node):
            return b""
        text = node.text if isinstance(node, Scalar) else ""
        if not _DIGEST.fullmatch(text):
            self.problem(node.place, where, f"is no SHA-256 in 64 hexadecimal digits: {_HOW}")
            return b""
        found = bytes.fromhex(text)
        if found == _OF_NOTHING:
            self.problem(node.place, where, f"is the digest of nothing: set TOKEN first, and {_HOW}")
        self.only_once(found, node, where, "another approver has this token: give each a token of its own")
        return found

    def names(self, node: Node | None, where: str) -> tuple[str, ...]:
        if node is None:
            return ("*",)
        before = len(self.problems)
        items = self.sequence(node, where)
        names = [self.text(item, f"{where}[{at}]") for at, item in enumerate(items, 1)]
        if len(self.problems) == before and not (names and all(names)):
            self.problem(node.place, where, 'names nothing: write names, as ["cancel_*"], or leave the key out for all')
        return tuple([name for name in names if name])

    def principal(self, node: Node | None, where: str) -> Principal | None:
        if node is None:
            return None
        members = self.needed(node, where, ("subject", "issuer"), ("subject",))
        subject = self.text(members.get("subject"), f"{where}.subject")
        issuer = self.text(members.get("issuer"), f"{where}.issuer")
        if not subject:
            return None
        found = Principal(subject, issuer or "")
        self.one_person(found, node, where, is_named=True)
        return found

    def one_person(self, found: Principal, node: Node, where: str, *, is_named: bool) -> None:
        """Two names for one person would make two people of him. Two that are names only are compared as names."""
        alike = (
            place
            for one, place, named in self._principals
            if (named or is_named) and (_may_be(found, one) or _may_be(one, found))
        )
        first = next(alike, None)
        self._principals.append((found, node.place, is_named))
        if first is not None:
            advice = "another approver is, or may be, the same principal: write each person once, each with its issuer"
            self.problem(node.place, where, f"stands in line {first.line} too: {advice}")

    def needed(self, node: Node, where: str, known: tuple[str, ...], needed: tuple[str, ...]) -> dict[str, Node]:
        members = self.mapping(node, where, known).members
        for key in needed:
            if key not in members or is_null(members[key]):
                self.problem(node.place, where, f"{key} is missing: write {' and '.join(needed)}")
        return members

    def only_once(self, what: str | bytes, node: Node, where: str, advice: str) -> None:
        first = self._seen.setdefault(what, node.place)
        if first is not node.place:
            self.problem(node.place, where, f"stands in line {first.line} too: {advice}")


def _folded(name: str) -> str:
    """A name as the store compares the names of people: who writes `Alice` for `alice` is no second pair of eyes."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _may_be(known: Principal, other: Principal) -> bool:
    """True where both may be one person: whoever is known without an issuer may be of any."""
    return _folded(known.subject) == _folded(other.subject) and known.issuer in ("", other.issuer)


def _any(names: tuple[str, ...], name: str) -> bool:
    return any(_matcher(one).match(name) for one in names)


@lru_cache(1024)
def _matcher(name: str) -> re.Pattern[str]:
    return matcher(name)
