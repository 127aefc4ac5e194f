"""What must become of approvals, as a second opinion: plain dictionaries that know nothing of stores or of our code.

Times are those that all users of the store share.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LOST = 10.0
"""Seconds after which an instance that says nothing is gone."""


@dataclass(frozen=True)
class Call:
    """A call that needs an approval: what it is, who asks, and what the rule says."""

    name: str
    holder: str
    size: int = 1
    definition: str = ""
    approvers: int = 1
    grants: bool = False
    four_eyes: bool = False
    asker: str = "bob"
    timeout: float = 400.0
    use_within: float = 200.0

    @property
    def same(self) -> str:
        """What this very call is, whoever asks."""
        return f"{self.name}-{self.size}"

    @property
    def binding(self) -> str:
        """What an approval of it is bound to."""
        return f"{self.same}/{self.holder}"


@dataclass
class One:
    """An approval."""

    call: Call
    state: str
    changed: float
    expires: float
    answers: list[tuple[str, str, bool]] = field(default_factory=list)
    uses: int = 0
    owner: str = ""
    grant: str = ""
    forwarded: int = 0
    """Uses that were not called off: more than one is what must never be."""


@dataclass
class Standing:
    """A standing approval: like `call`, `left` more, until `until`."""

    call: Call
    left: int
    until: float
    revoked: bool = False

    def fits(self, call: Call, now: float) -> bool:
        """True where a call may use it."""
        like = (call.name, call.holder, call.grants) == (self.call.name, self.call.holder, True)
        known = not self.call.definition or not call.definition or call.definition == self.call.definition
        return like and known and call.size <= self.call.size and self.usable(now)

    def usable(self, now: float) -> bool:
        """True where some call may use it."""
        return not self.revoked and self.left > 0 and now < self.until


GRANT_CALLS, GRANT_SECONDS = 3, 60.0


class Model:
    """All approvals by their ids, in the order in which they were asked for; and one limit that all calls take from."""

    def __init__(self, limit: int) -> None:
        self.all: dict[str, One] = {}
        self.standing: dict[str, Standing] = {}
        self.heard: dict[str, float] = {}
        self.limit = limit
        self.taken = 0

    def state(self, id_: str, now: float) -> str:
        """The state that an approval counts as."""
        one = self.all[id_]
        return "expired" if one.state in ("pending", "approved") and now >= one.expires else one.state

    def silent(self, one: One, now: float) -> float:
        """Seconds since the instance that has an approval in use gave a sign of life."""
        return now - max(one.changed, self.heard.get(one.owner, 0.0))

    def blocks(self, same: str) -> set[str]:
        """Approvals with which this very call runs, or may have run."""
        return {id_ for id_, one in self.all.items() if one.call.same == same and one.state in ("in_use", "unknown")}

    def newest(self, call: Call) -> str | None:
        """The approval that was asked for last for exactly this call, if the tool is still the same."""
        found = [id_ for id_, one in self.all.items() if one.call.binding == call.binding and not one.grant]
        if not found:
            return None
        was = self.all[found[-1]].call.definition
        return found[-1] if not was or not call.definition or was == call.definition else None

    def usable(self, call: Call, now: float) -> tuple[str, str]:
        """What a call can do: `own`, `standing`, `ask` or the state it is stuck in, and the id where there is one."""
        id_ = self.newest(call)
        state = self.state(id_, now) if id_ else ""
        if id_ and state == "approved":
            return "own", id_
        if id_ and state == "denied" and now < self.all[id_].changed + self.all[id_].call.timeout:
            return "denied", id_
        for grant, standing in self.standing.items():
            if standing.fits(call, now):
                return "standing", grant
        if id_ and state in ("in_use", "pending"):
            return state, id_
        return "ask", ""

    def use(self, id_: str, owner: str, now: float) -> None:
        """An approval is taken into use."""
        one = self.all[id_]
        assert one.state in ("approved", "pending"), one
        one.state, one.owner, one.changed = "in_use", owner, now
        one.uses += 1
        one.forwarded += 1
        self.taken += 1

    def settle(self, id_: str, use: int, how: str, now: float) -> None:
        """The use of an approval ended."""
        one = self.all[id_]
        if one.state not in ("in_use", "unknown") or one.uses != use or (how, one.state) == ("unknown", "unknown"):
            return
        if how in ("not_run", "released"):
            self.taken -= 1
            one.forwarded -= 1
        if how == "unknown":
            one.state = "unknown"
        elif how == "released" and one.state == "in_use" and not one.grant:
            one.state = "approved"
        else:
            one.state = "consumed"
            if how in ("not_run", "released"):
                self.place_back(id_)
        one.changed = now

    def place_back(self, id_: str) -> None:
        """A standing approval gets back the place of a call that did not run."""
        standing = self.standing.get(self.all[id_].grant or id_)
        if standing is not None:
            standing.left = min(standing.left + 1, GRANT_CALLS)

    def decide(self, id_: str, by: str, verdict: str, grant: bool, now: float) -> bool | None:
        """Whether an answer changes something; None where it cannot be given."""
        one, state = self.all[id_], self.state(id_, now)
        stands = {"approve": ("pending", "approved", "in_use", "consumed"), "deny": ("denied",)}[verdict]
        if (by, verdict, grant) in one.answers and state in stands:
            return False
        if state != "pending":
            return None
        if verdict == "deny":
            one.state, one.changed = "denied", now
        elif (
            any(who == by for who, _, _ in one.answers)
            or (grant and not one.call.grants)
            or (one.call.four_eyes and by == one.call.asker)
        ):
            return None
        one.answers.append((by, verdict, grant))
        if verdict == "approve" and len(one.answers) == one.call.approvers:
            one.state, one.changed, one.expires = "approved", now, now + one.call.use_within
            if one.call.grants and all(granted for _, _, granted in one.answers):
                self.standing[id_] = Standing(one.call, GRANT_CALLS - 1, now + GRANT_SECONDS)
        return True

    def resolve(self, id_: str, verdict: str, now: float) -> bool:
        """Whether a person could say what became of it."""
        one = self.all[id_]
        if one.state != "unknown":
            return False
        one.state, one.changed = "consumed", now
        if verdict == "failed":
            self.taken -= 1
            one.forwarded -= 1
            self.place_back(id_)
        return True

    def revoke(self, id_: str, now: float) -> bool:
        """Whether there was something to take back."""
        one, standing = self.all[id_], self.standing.get(id_)
        unused = self.state(id_, now) == "approved"
        stands = standing is not None and not standing.revoked and now < standing.until
        if standing is not None and stands:
            standing.revoked = True
        if unused:
            one.state, one.changed = "denied", now
        return unused or stands

    def sweep(self, instance: str, now: float) -> set[str]:
        """Which approvals are over, and noted as such."""
        self.heard[instance] = now
        ended = {id_ for id_, one in self.all.items() if self.state(id_, now) != one.state}
        lost = {id_ for id_, one in self.all.items() if one.state == "in_use" and self.silent(one, now) >= LOST}
        for id_ in ended:
            self.all[id_].state, self.all[id_].changed = "expired", now
        for id_ in lost:
            self.all[id_].state, self.all[id_].changed = "unknown", now
        self.standing = {id_: one for id_, one in self.standing.items() if now < one.until}
        return ended | lost
