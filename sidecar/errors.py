"""Every error that this package raises on purpose.

The text of each is written for a person: what is wrong, where, and what to do instead. None carries argument
values, headers or secrets.
"""

from __future__ import annotations


class SidecarError(Exception):
    """Base of every error that this package raises on purpose. Its text may be shown to anyone."""


class StartError(SidecarError):
    """The environment does not allow a start: a missing program, an unwritable folder. Exit status 1."""


class UsageError(SidecarError):
    """The command line makes no sense. Exit status 2."""


class PolicyError(SidecarError):
    """The policy is wrong. `problems` holds every line to show, each `file:line: where: what, and what instead`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class CasesError(SidecarError):
    """A file of test calls cannot be read. `problems` are lines to show, as in `PolicyError`. Exit status 2."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class InvalidMessage(SidecarError):
    """A peer sent a message that cannot be read strictly, or not be accepted where it stands, so it is not forwarded.

    `code` is the JSON-RPC error code; `id` is the message's id if it could be read, else None. `is_answer` says whether
    it was meant as an answer, whose id belongs to the other side; None if that cannot be seen.
    """

    def __init__(
        self,
        code: int,
        text: str,
        id: str | int | None = None,  # noqa: A002 - the protocol's word
        *,
        is_answer: bool | None = False,
    ) -> None:
        super().__init__(text)
        self.code = code
        self.id = id
        self.is_answer = is_answer


class EngineUnavailable(SidecarError):
    """The policy engine gave no usable answer. `kind` is one of `events.ENGINE_ERRORS`."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class PolicyAwaited(EngineUnavailable):
    """OPA answers by neither the old policy nor the new one, which stays published: it is in force once OPA answers."""

    def __init__(self) -> None:
        super().__init__(
            "timeout",
            "opa answers neither by the new policy nor by the old one: the new one is in force as soon as it does",
        )


class Superseded(SidecarError):
    """The engine answered by a newer policy than the one that the question was put under: the question is put again."""


class StoreUnavailable(SidecarError):
    """The store of counters cannot be used."""


class SourceUnavailable(SidecarError):
    """A bundle could not be fetched: no network, no such file, a server that answers otherwise. It may come back."""


class NothingPublished(SourceUnavailable):
    """The source answers, and has no bundle yet: nobody published one there. Looking again soon costs it little."""


class BundleRefused(SidecarError):
    """A bundle was fetched and is not put in force. `kind` is one of `events.BUNDLE_REFUSALS`."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
