"""A recorded call as a value, and as a line of a recording. Knows no file and no engine.

A line holds what a rule needs to be asked again, and no more: the values at the paths in `kept`. Beside them stand
`true` for a value that a path cannot lead into, and for a key that may only be taken for one of a path: what is judged
of either is only that it is there. A value at a path in `masked` is a keyed hash.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from sidecar.mcp import strict_json
from sidecar.policy import paths
from sidecar.policy.paths import Path, overlap
from sidecar.policy.terms import Reads
from sidecar.text import shown

VERSION: Final = 1
BEGIN: Final = b'{"version":1,'
"""What each line that we write begins with."""
Decided: TypeAlias = Literal["allow", "deny", "approval"]
"""What became of a call: it passed, it was refused, or a person was asked."""
_ASKED: Final = "require_approval"
"""What the engine and `explain` call `approval`: whoever writes lines by hand may say so too."""
ALWAYS_KEPT: Final = frozenset(
    {("principal", "subject"), ("principal", "issuer"), ("session", "client", "name"), ("session", "client", "version")}
)
"""Paths about the caller that every line has, where there is such a value."""


class By(msgspec.Struct, frozen=True):
    """Who called, if he authenticated; of the claims those that were kept."""

    subject: str
    issuer: str = ""
    claims: dict[str, Any] = {}


class Client(msgspec.Struct, frozen=True):
    """What the client said of itself; True for what was no text, or too long, None for what it did not say."""

    name: str | bool | None = None
    version: str | bool | None = None


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """One decided call. Only those without a default need be there: a line without `kept` has all arguments.

    `time` is in UTC, RFC 3339. `arguments` are JSON values, numbers also as `msgspec.Raw` tokens. `kept` and `masked`
    are paths as people write them, `keys` the names of all arguments, None where no rule asked for them. `approval` is
    the id of the approval that the call used, or waits for. `mode` is `monitor` where the call was forwarded whatever
    was decided.
    """

    version: Literal[1] = 1
    time: str
    decision_id: str = ""
    server: str = ""
    tool: str
    arguments: dict[str, Any]
    kept: tuple[str, ...] | Literal["all"] = "all"
    masked: tuple[str, ...] = ()
    keys: tuple[str, ...] | None = None
    principal: By | None = None
    session: str = ""
    client: Client | None = None
    workload: dict[str, str] = {}
    decision: Decided
    kind: str = ""
    rule: str = ""
    approval: str = ""
    mode: str = "enforce"
    revision: str = ""
    serial: int = 0

    @property
    def moment(self) -> float:
        """The time in Unix seconds."""
        return datetime.fromisoformat(self.time).timestamp()

    @property
    def sent(self) -> dict[str, Any]:
        """The arguments to ask about: those kept, and `true` for each other key that is known by its name only."""
        return {**dict.fromkeys(self.keys or (), True), **self.arguments}


def without(recorded: Recorded, reads: Reads) -> tuple[str, ...]:
    """The paths that rules read and that the line does not have, or only as a hash, as people write them.

    `reads` is what a policy reads of calls of this tool. The call can be asked about again where nothing is missing.
    """
    if reads.whole and (recorded.kept != "all" or recorded.masked):
        return ("everything",)
    needed = [("args", path) for path in reads.paths] + [(str(path[0]), path[1:]) for path in reads.caller]
    missing = [paths.shown(root, path) for root, path in needed if not _has(recorded, root, path)]
    if (reads.only is not None or reads.keys) and recorded.keys is None and recorded.kept != "all":
        missing.append("the names of the arguments")
    return tuple(missing)


def read_line(line: bytes) -> Recorded:
    """A line of a recording. Raises ValueError, with a text that holds nothing of the line but names of its members."""
    try:
        document, _ = strict_json.read_value(line)
    except strict_json.NotStrict as problem:
        raise ValueError(f"no line of a recording: {problem}") from None
    if type(document) is not dict:
        raise ValueError("no line of a recording: it is no object")
    # The arguments are left as they are: their numbers are tokens.
    others = {key: value for key, value in document.items() if key != "arguments"}
    arguments = document.get("arguments")
    if type(arguments) is not dict:
        raise ValueError("no line of a recording: it needs arguments, an object")
    if others.get("version", VERSION) != VERSION:
        raise ValueError("recorded in a form that this version does not read")
    claims = _claims(others)
    try:
        plain = _plain(others)
        if type(plain.get("time")) in (int, float):  # by hand: Unix seconds
            plain["time"] = time_of(plain["time"])
        if plain.get("decision") == _ASKED:
            plain["decision"] = "approval"
        read = msgspec.convert({**plain, "arguments": {}}, Recorded)
        read.moment  # noqa: B018 - it raises for what is no time
        for text in (*(read.kept if read.kept != "all" else ()), *read.masked):
            _split(text)
    except (msgspec.MsgspecError, ValueError, OverflowError, OSError) as problem:
        raise ValueError(f"no line of a recording: {shown(str(problem))}") from None
    by = msgspec.structs.replace(read.principal, claims=claims) if read.principal is not None else None
    return msgspec.structs.replace(read, arguments=arguments, principal=by)


def is_cut(line: bytes) -> bool:
    """True for a line that has no end and that no parser reads: whoever wrote it was cut off."""
    if line.endswith(b"\n"):
        return False
    try:
        strict_json.read_value(line)
    except strict_json.NotJson:
        return True
    except strict_json.NotStrict:
        return False  # it is all there, and wrong
    return False


def written(recorded: Recorded) -> bytes:
    """The line of a recorded call, with its end; numbers stand as they were sent."""
    return strict_json.encode(recorded) + b"\n"


def time_of(moment: float) -> str:
    """A time in Unix seconds as lines have it, to the microsecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _has(recorded: Recorded, root: str, path: Path) -> bool:
    """True where the line has what stands at a path, or that nothing does."""
    if root == "args" and any(overlap(path, hidden) for _, hidden in map(_split, recorded.masked)):
        return False
    if recorded.kept == "all" or (root, *path) in ALWAYS_KEPT:
        return True
    return any(kept_root == root and path[: len(kept)] == kept for kept_root, kept in map(_split, recorded.kept))


def _split(text: str) -> tuple[str, Path]:
    """The root and the steps of a path. Raises ValueError."""
    root = next((name for name in ("args", "principal", "session", "workload") if text.startswith(name)), None)
    if root is None:
        raise paths.BadPath("a path that begins with no known name")
    return root, paths.read(text.removeprefix(root))


def _claims(document: dict[str, Any]) -> dict[str, Any]:
    """The claims of the principal as they are, taken out of the document."""
    by = document.get("principal")
    claims = by.get("claims", {}) if type(by) is dict else {}
    if type(claims) is not dict:
        raise ValueError("no line of a recording: claims are an object")
    if type(by) is dict:
        document["principal"] = {**by, "claims": {}}
    return cast("dict[str, Any]", claims)


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the few numbers that we write ourselves as numbers."""
    return {key: msgspec.json.decode(one) if type(one) is msgspec.Raw else one for key, one in document.items()}
