"""Reads what a policy file says of approvals: of all of them, and of those that one rule asks for."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from sidecar.policy import paths
from sidecar.policy.model import ANSWERS, Approval, Approvals, Granting, Webhook
from sidecar.policy.nodes import Mapping, Node, Scalar
from sidecar.policy.paths import Path
from sidecar.policy.problem import Place
from sidecar.policy.read_items import ItemReader, is_null

APPROVALS_KEYS: Final = ("timeout", "use_within", "hold", "four_eyes", "mask", "answer", "notify")
GRANT_KEYS: Final = ("for", "calls", "same", "at_most")
OF_REQUESTS: Final = ("approval_timeout", "approvers", "grant")
"""Keys of a rule that only one has that asks for approvals."""

MAX_WAIT: Final = "30d"
"""The longest time that a request may stay unanswered, an approval unused, and a standing approval in force."""
MAX_HOLD: Final = "10m"
"""The longest time that a call may wait in place: it keeps a request of its client open."""
MAX_CALLS: Final = 10_000
"""Calls of one standing approval."""


class ApprovalReader(ItemReader):
    """One method for each item. It notes its problems and returns what could be read."""

    def approvals(self, node: Node, place: Place) -> Approvals:
        """What a file says of all approvals; `place` is that of the key."""
        members = self.mapping(node, "approvals", APPROVALS_KEYS).members
        unsaid = Approvals()
        four_eyes = members.get("four_eyes")
        if four_eyes is not None and not (isinstance(four_eyes, Scalar) and isinstance(four_eyes.value, bool)):
            self.problem(four_eyes.place, "approvals.four_eyes", "must be true or false")
        masks = self.sequence(members.get("mask"), "approvals.mask")
        return Approvals(
            timeout=self.wait(members.get("timeout"), "approvals.timeout") or unsaid.timeout,
            use_within=self.wait(members.get("use_within"), "approvals.use_within") or unsaid.use_within,
            hold=self.seconds(members.get("hold"), "approvals.hold", zero=True, most=MAX_HOLD) or 0,
            four_eyes=isinstance(four_eyes, Scalar) and four_eyes.value is True,
            mask=tuple(self.argument(item, f"approvals.mask[{at}]") for at, item in enumerate(masks, 1)),
            webhook=self.notify(members.get("notify")),
            answer=self.choice(members.get("answer"), "approvals.answer", ANSWERS) or unsaid.answer,
            place=place,
        )

    def notify(self, node: Node | None) -> Webhook | None:
        hook = self.mapping(node, "approvals.notify", ("webhook",)).members.get("webhook")
        if hook is None:
            return None
        where = "approvals.notify.webhook"
        members = self.members(hook, where, ("url", "secret_env"), needed=("url", "secret_env"))
        url = self.text(members.get("url"), f"{where}.url") or ""
        if url and (advice := _not_to_be_called(url)):
            self.problem(members["url"].place, f"{where}.url", advice)
        secret = self.text(members.get("secret_env"), f"{where}.secret_env") or ""
        if secret and not _VARIABLE.fullmatch(secret):  # not shown: somebody may have written the secret itself
            text = "must be the name of an environment variable that holds the secret, as APPROVALS_SECRET"
            self.problem(members["secret_env"].place, f"{where}.secret_env", text)
        return Webhook(url, secret)

    def approval(self, rule: Mapping, where: str) -> Approval:
        """What a rule says of the approvals that it asks for."""
        timeout = self.wait(rule.members.get("approval_timeout"), f"{where}.approval_timeout")
        approvers = self.count(rule.members.get("approvers"), f"{where}.approvers") or 1
        grant = self.grant(rule.members["grant"], f"{where}.grant") if "grant" in rule.keys else None
        return Approval(timeout, approvers, grant)

    def grant(self, node: Node, where: str) -> Granting | None:
        members = self.members(node, where, GRANT_KEYS, needed=("for", "calls", "same"))
        seconds = self.wait(members.get("for"), f"{where}.for")
        calls = self.count(members.get("calls"), f"{where}.calls")
        if calls and calls > MAX_CALLS:
            self.problem(members["calls"].place, f"{where}.calls", f"{calls} calls are too many: {MAX_CALLS} at most")
        held: dict[Path, str] = {}
        same = self.held(members.get("same"), f"{where}.same", held)
        at_most = self.held(members.get("at_most"), f"{where}.at_most", held)
        if "same" in members and not is_null(members["same"]) and not same:
            text = "name at least one argument whose value has to be the same: else one approval is for any call"
            self.problem(members["same"].place, f"{where}.same", text)
        return Granting(seconds, calls, same, at_most) if seconds and calls else None

    def held(self, node: Node | None, where: str, known: dict[Path, str]) -> tuple[Path, ...]:
        """The paths in a list of a grant; `known` are those that stand in it already, and where."""
        found: list[Path] = []
        for at, item in enumerate(self.sequence(node, where), 1):
            path, place = self.argument(item, f"{where}[{at}]"), f"{where}[{at}]"
            if paths.EACH in path:
                whole = paths.shown("args", path[: path.index(paths.EACH)])
                self.problem(item.place, place, f"one value is compared, and [*] stands for many: write {whole}")
            elif path in known:
                self.problem(item.place, place, f"stands under {known[path]} already: remove one of the two")
            elif path:
                known[path] = where.rpartition(".")[2]
                found.append(path)
        return tuple(found)

    def wait(self, node: Node | None, where: str) -> int | None:
        return self.seconds(node, where, most=MAX_WAIT)


def _not_to_be_called(url: str) -> str:
    """What is wrong with the URL of a webhook, without showing it: secrets stand in some. Empty where nothing is."""
    write = "write https:// and a host, without a user or a password"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return f"is no URL: {write}"
    if not host or not url.isascii() or not url.isprintable() or " " in url or "@" in parts.netloc:
        return f"is no URL that can be called: {write}"
    if parts.fragment:
        return "has a part after #, which no server gets: remove it"
    if url.startswith("https://") or (url.startswith("http://") and _is_loopback(host)):
        return ""
    return "must begin with https://: what it sends shows what agents ask (http:// only to this machine, as 127.0.0.1)"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
