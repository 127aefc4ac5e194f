"""What the sidecar itself needs to know of a policy: read out of the facts in its bundle."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from sidecar.mcp.protocol import OF_CLIENTS, folded
from sidecar.mcp.tool_call import is_odd_name
from sidecar.policy.model import ANY_TOOL, NAMED_WINDOWS, AnswerForm, Default, Methods, Mode
from sidecar.policy.names import is_pattern, matcher, unglob
from sidecar.policy.paths import Path, Root, in_order
from sidecar.policy.risks import Risk, Risks, read_risk, read_risks


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """A rule as metrics and explanations name it, and what may become of a call by it.

    `reports` is its mode where it only reports; `asks` is True where it may ask a person. `refusals` are the kinds by
    which the rule itself may refuse, `exhausted` is the kind of its limit, empty where it has none. It `counts` where
    it has a counter, with a limit or without one. `denies` where it refuses every call, `always_asks` where it asks
    about every one, `never_passed` where no call gets past it, be it for its limit.
    """

    tool: str
    rule: str
    kind: str
    file: str
    line: int
    risk: Risk
    reports: Literal["", "monitor", "shadow"] = ""
    asks: bool = False
    refusals: tuple[str, ...] = ()
    exhausted: str = ""
    counts: bool = False
    denies: bool = False
    always_asks: bool = False
    never_passed: bool = False


@dataclass(frozen=True, slots=True)
class LimitInfo:
    """A limit as metrics name it: that of a rule of an entry (`tool`, as in `RuleInfo`), on a counter.

    `window` is in seconds. With `each_tool` the counter is another one for each tool that is called.
    """

    counter: str
    tool: str
    rule: str
    scope: str
    window: int
    limit: float
    each_tool: bool = False
    sliding: bool = False


@dataclass(frozen=True, slots=True)
class CounterRead:
    """A counter whose total a rule reads. `name` is its name in the question; `window` is in seconds.

    With `each_tool` it is another one for each tool that is called.
    """

    name: str
    counter: str
    window: int
    scope: str
    each_tool: bool = False
    sliding: bool = False


@dataclass(frozen=True, slots=True)
class Reads:
    """All that a tool's rules read beside the tool's name.

    `paths` lead into the arguments; `no_nul` are those of them at which no text may hold a NUL character, since what
    reads there could be deceived by one. `only` are the names that arguments may have, None where no rule says so.
    `caller` are paths about the caller, with the root in front: `("principal", "subject")`. `counters` are counters.
    `shadow_paths` are those of rules in shadow, by which no call is refused, not even for a look-alike; `shadow_names`
    where such a rule says which arguments there may be.

    Hand-written Rego may read more: `keys` are the names of all arguments, `time` is the time of the call, and with
    `whole` it gets all arguments and all that is known of the caller. An answer that is not `lasting` holds but once.
    """

    paths: tuple[Path, ...] = ()
    only: frozenset[str] | None = None
    caller: tuple[Path, ...] = ()
    counters: tuple[CounterRead, ...] = ()
    shadow_paths: tuple[Path, ...] = ()
    shadow_names: bool = False
    keys: bool = False
    time: bool = False
    whole: bool = False
    lasting: bool = True
    no_nul: tuple[Path, ...] = ()

    @property
    def all_paths(self) -> tuple[Path, ...]:
        """All paths into the arguments."""
        return tuple(in_order({*self.paths, *self.shadow_paths}))

    @property
    def names(self) -> bool:
        """True where a rule reads the names of the arguments."""
        return self.only is not None or self.keys or self.shadow_names

    def __add__(self, other: Reads) -> Reads:
        # A path stays even if a shorter one contains it: none of its steps may have a look-alike.
        return Reads(
            tuple(in_order({*self.paths, *other.paths})),
            other.only if self.only is None else self.only.union(other.only or ()),
            tuple(in_order({*self.caller, *other.caller})),
            tuple(dict.fromkeys((*self.counters, *other.counters))),
            tuple(in_order({*self.shadow_paths, *other.shadow_paths})),
            self.shadow_names or other.shadow_names,
            keys=self.keys or other.keys,
            time=self.time or other.time,
            whole=self.whole or other.whole,
            lasting=self.lasting and other.lasting,
            no_nul=tuple(in_order({*self.no_nul, *other.no_nul})),
        )


@dataclass(frozen=True, slots=True)
class PatternReads:
    """What the rules of an entry for many tools read. With `by_class` they apply only to tools without a class yet.

    `name` is that of the entry. One that `permits` lets its tools be called under `default: deny`.
    """

    pattern: re.Pattern[str]
    reads: Reads
    by_class: bool
    gives_class: bool
    name: str
    permits: bool


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """How approvals work under a policy: see `policy/model.Approvals`. `webhook` is its URL, empty for none."""

    hold: int = 0
    four_eyes: bool = False
    mask: tuple[Path, ...] = ()
    answer: AnswerForm = "error"
    webhook: str = ""
    secret_env: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the sidecar itself needs to know of a policy; all of it is read from the bundle.

    `tools` are the tools that it names. Where all of a tool's rules are in shadow its name counts only if it is plain:
    an odd one, which a server may take for another's, is not made known by that.
    `refunds` says for each counter when what a call took is given back: `not_run`, `on_error`, `on_failure`, `never`;
    `monitored` are the counters of rules that only report; `scopes` are the scopes of all counters;
    `hidden` are the names and patterns that no list may show; `methods` says which methods of a client pass.
    `withheld` is all that decides which tools a list does not show, empty where it shows every tool.
    `asking` are the tools of which a rule asks a person about calls, `*` for all; `asking_rules` are those rules.
    `tells_apart` is True where it matters who asks and who approves: four eyes, or several approvers.
    `limits` are those of all counters that have one. `default` is what becomes of a tool without an entry;
    `permitted` are the tools whose own entries permit them under `default: deny`. `arguments` are the arguments that
    the rules of a tool's own entry read, by their names at the top; those of rules that several entries share are left
    out, since not all of their tools need to have them.
    """

    tools: frozenset[str]
    patterns: tuple[PatternReads, ...]
    reads: dict[str, Reads]
    reads_any: Reads
    refunds: dict[str, str]
    monitored: frozenset[str]
    monitor: bool
    hidden: tuple[str, ...]
    withheld: tuple[object, ...]
    scopes: frozenset[str]
    rules: tuple[RuleInfo, ...]
    methods: Methods
    risks: Risks
    approvals: ApprovalTerms = ApprovalTerms()
    asking: frozenset[str] = frozenset()
    asking_patterns: tuple[re.Pattern[str], ...] = ()
    asking_rules: tuple[tuple[re.Pattern[str], RuleInfo], ...] = ()
    tells_apart: bool = False
    limits: tuple[LimitInfo, ...] = ()
    default: Default = "allow"
    permitted: frozenset[str] = frozenset()
    hidden_patterns: tuple[re.Pattern[str], ...] = ()
    arguments: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def asks_people(self) -> bool:
        """True where some rule asks a person."""
        return bool(self.asking or self.asking_patterns)

    def mode(self, chosen: Mode | None) -> Mode:
        """The mode in which calls are judged; one that the operator chose wins over the policy's."""
        return chosen or ("monitor" if self.monitor else "enforce")

    def asks(self, tool: str) -> bool:
        """True for a tool of which some rule asks a person about calls, be it not about every one."""
        return ANY_TOOL in self.asking or tool in self.asking or any(one.match(tool) for one in self.asking_patterns)

    def place_of(self, tool: str, rule: str) -> tuple[str, int]:
        """File and line of the first rule of this name that asks about calls of `tool`; no file where there is none."""
        found = (info for names, info in self.asking_rules if info.rule == rule and names.match(tool))
        return next(((info.file, info.line) for info in found), ("", 0))

    def reads_of(self, tool: str) -> Reads:
        """What the rules that apply to `tool` read."""
        return sum((item.reads for item in self.patterns_of(tool)), self.reads.get(tool, self.reads_any))

    def patterns_of(self, tool: str) -> Iterator[PatternReads]:
        """The entries for many tools whose rules apply to `tool`, in the order that counts."""
        own = self.risks.tools.get(tool)
        classed = own is not None and own.risk_class is not None
        for item in self.patterns:
            if item.pattern.match(tool):
                if not (item.by_class and classed):
                    yield item
                classed = classed or item.gives_class

    def hides(self, tool: str) -> bool:
        """True for a tool that no call reaches, since the policy hides it."""
        return tool in self.hidden or any(pattern.match(tool) for pattern in self.hidden_patterns)

    def permits_tool(self, tool: str) -> bool:
        """True for a tool that `default: deny` does not refuse: by an entry of its own, or one for many tools."""
        if self.default == "allow" or tool in self.permitted:
            return True
        return any(item.permits and item.pattern.match(tool) for item in self.patterns)

    def named_patterns(self) -> dict[str, re.Pattern[str]]:
        """What each pattern that it is written with matches: of entries and of `hide`, but those of wildcards alone."""
        hidden = self.hidden[len(self.hidden) - len(self.hidden_patterns) :]
        named = {item.name: item.pattern for item in self.patterns}
        named |= dict(zip(map(unglob, hidden), self.hidden_patterns, strict=True))
        return {name: pattern for name, pattern in named.items() if name.strip("*?")}

    def reads_about(self, root: Root) -> bool:
        """True where a rule reads what is known of the caller under this name."""
        every = (*self.reads.values(), self.reads_any, *(item.reads for item in self.patterns))
        return any(path[0] == root for reads in every for path in reads.caller)

    def permits(self, method: str) -> bool:
        """True for a method that a client may use."""
        methods = self.methods
        if method in methods.deny:
            return False
        if method in OF_CLIENTS or method in methods.allow:
            return True
        # A server may take an odd spelling for the method that it resembles: if that one is denied, so is this one.
        return methods.unknown == "allow" and folded(method) not in map(folded, methods.deny)


def read_terms(facts: dict[str, Any]) -> Terms:
    """The terms in what `policy/facts` wrote into the bundle."""
    entries = [*facts["tools"].items(), *((item["name"], item["rules"]) for item in facts["patterns"])]
    rules = [(tool, rule) for tool, rules in [*entries, ("*", facts["any_tool"])] for rule in rules]
    limits = [(rule, rule["limit"]) for _, rule in rules if "limit" in rule]
    reads = facts["reads"]
    custom = facts.get("custom", {"rules": [], "reads": None})
    reads_any = sum(map(_reads, reads["any_tool"]), _custom_reads(custom["reads"]))
    counters = [read for of_tool in _every_read(reads) for read in of_tool.counters]
    risks = read_risks(facts)
    infos = tuple(_rule_infos(facts, risks))
    asked = [
        (info, rule["approval"])
        for info, (_, rule) in zip(infos, rules, strict=True)
        if "approval" in rule and not rule["monitor"]
    ]
    of_custom = [(_custom_info(rule, risks), rule) for rule in custom["rules"]]
    asking = [info for info, _ in asked] + [info for info, rule in of_custom if rule["asks"]]
    shadowed = facts.get("shadowed", ())
    odd = set(filter(is_odd_name, shadowed))
    return Terms(
        tools=frozenset({*facts["tools"]} - odd | {*facts["hide"]["tools"]}),
        patterns=tuple(
            PatternReads(
                pattern=matcher(item["name"]),
                reads=_reads(read),
                by_class=item.get("by_class", False),
                gives_class="class" in risk,
                name=item["name"],
                permits=item["permits"],
            )
            for item, read, risk in zip(facts["patterns"], reads["patterns"], facts["risks"]["patterns"], strict=True)
        ),
        reads={tool: _reads(read) + reads_any for tool, read in reads["tools"].items()},
        reads_any=reads_any,
        refunds={limit["counter"]: rule["refund"] for rule, limit in limits},
        monitored=frozenset(limit["counter"] for rule, limit in limits if rule["monitor"]),
        monitor=facts["mode"] == "monitor",
        hidden=(*facts["hide"]["tools"], *facts["hide"]["patterns"]),
        withheld=_withheld(facts),
        scopes=frozenset({limit["scope"] for _, limit in limits} | {read.scope for read in counters}),
        methods=Methods(
            facts["methods"]["unknown"], frozenset(facts["methods"]["allow"]), frozenset(facts["methods"]["deny"])
        ),
        rules=(*infos, *(info for info, _ in of_custom)),
        risks=risks,
        approvals=_approvals(facts["approvals"]),
        asking=frozenset(info.tool for info in asking),
        asking_patterns=tuple(matcher(name) for name in dict.fromkeys(info.tool for info in asking) if _is_some(name)),
        asking_rules=tuple((matcher(info.tool), info) for info in asking),
        tells_apart=(facts["approvals"]["four_eyes"] and bool(asking))
        or any(approval["approvers"] > 1 for _, approval in asked)
        or any(rule["several"] for rule in custom["rules"]),
        limits=tuple(
            _limit(tool, rule) for tool, rule in rules if "limit" in rule and rule["limit"]["limit"] is not None
        ),
        default=facts["default"],
        permitted=frozenset({*facts["tools"]} - {*shadowed}),
        hidden_patterns=tuple(matcher(unglob(pattern)) for pattern in facts["hide"]["patterns"]),
        arguments=_arguments(facts, odd),
    )


def _arguments(facts: dict[str, Any], unnamed: Container[str]) -> dict[str, frozenset[str]]:
    entries = [*facts["tools"].values(), *(item["rules"] for item in facts["patterns"]), facts["any_tool"]]
    shared = Counter(place for rules in entries for place in {(rule["file"], rule["line"]) for rule in rules})
    found = {}
    for tool, read in facts["reads"]["tools"].items():
        paths = [*read["paths"], *read.get("shadow", {"paths": ()})["paths"]]
        own = all(shared[rule["file"], rule["line"]] == 1 for rule in facts["tools"][tool])
        if paths and own and tool not in unnamed:
            found[tool] = frozenset(path[0] for path in paths)
    return found


def _limit(tool: str, rule: dict[str, Any]) -> LimitInfo:
    limit = rule["limit"]
    return LimitInfo(
        limit["counter"], tool, rule["name"], limit["scope"], NAMED_WINDOWS.get(limit["window"], limit["window"]),
        float(limit["limit"]), "each_tool" in limit, "sliding" in limit,
    )  # fmt: skip


def _is_some(name: str) -> bool:
    """True for the pattern of an entry for some tools, not for all."""
    return is_pattern(name) and name != ANY_TOOL


def _approvals(said: dict[str, Any]) -> ApprovalTerms:
    webhook = said["webhook"] or {"url": "", "secret_env": ""}
    return ApprovalTerms(
        hold=said["hold"],
        four_eyes=said["four_eyes"],
        mask=tuple(map(tuple, said["mask"])),
        answer=said["answer"],
        webhook=webhook["url"],
        secret_env=webhook["secret_env"],
    )


def _rule_infos(facts: dict[str, Any], risks: Risks) -> Iterator[RuleInfo]:
    stopping = facts["never_passed"]
    of_patterns = {item["position"]: item["rules"] for item in stopping["patterns"]}
    entries = [
        *((tool, rules, risks.of(tool), stopping["tools"].get(tool, ())) for tool, rules in facts["tools"].items()),
        *(
            (item["name"], item["rules"], read_risk(risk), of_patterns.get(at, ()))
            for at, (item, risk) in enumerate(zip(facts["patterns"], facts["risks"]["patterns"], strict=True))
        ),
        (ANY_TOOL, facts["any_tool"], risks.any_tool, stopping["any_tool"]),
    ]
    for tool, rules, risk, never_passed in entries:
        for rule in rules:
            yield _rule_info(tool, rule, risk, never_passed=rule["name"] in never_passed)


def _rule_info(tool: str, rule: dict[str, Any], risk: Risk, *, never_passed: bool) -> RuleInfo:
    reports: Literal["", "monitor", "shadow"] = "shadow" if "shadow" in rule else "monitor"
    refuses = rule.get("refuses", "")
    limited = rule.get("limit", {}).get("limit") is not None
    uncountable = ["invalid_amount"] if "needs_amount" in rule else []
    return RuleInfo(
        tool, rule["name"], rule["kind"], rule["file"], rule["line"], risk, reports if rule["monitor"] else "",
        asks="approval" in rule,
        refusals=(*([rule["kind"]] if refuses != "never" else []), *uncountable),
        exhausted=rule["limit"]["kind"] if limited else "",
        counts="limit" in rule,
        denies=refuses == "always",
        always_asks=rule.get("asks") == "always",
        never_passed=never_passed,
    )  # fmt: skip


def _custom_info(rule: dict[str, Any], risks: Risks) -> RuleInfo:
    asks = rule["asks"]
    kind = "approval_required" if asks else "custom"
    refusals = () if asks else (kind,)
    return RuleInfo(
        ANY_TOOL, rule["rule"], kind, rule["file"], rule["line"], risks.any_tool, asks=asks, refusals=refusals
    )  # fmt: skip


def _withheld(facts: dict[str, Any]) -> tuple[object, ...]:
    """All that the library goes by when it withholds a tool from a list; lists differ only where this does."""
    hidden = (*facts["hide"]["tools"], *facts["hide"]["patterns"])
    if facts["list"] == "all":
        return hidden
    risks, refusing = facts["risks"], facts["never_passed"]
    named = [tool for tool in facts["tools"] if tool not in facts.get("shadowed", ())]
    permitted = (*named, *(item["pattern"] for item in facts["patterns"] if item["permits"]))
    patterns = facts["patterns"]
    classed = [  # by these the rules of a class apply to one tool and not to another
        *(tool for tool, risk in risks["tools"].items() if "class" in risk),
        *(item["pattern"] for item, risk in zip(patterns, risks["patterns"], strict=True) if "class" in risk),
    ]
    refusing_patterns = [
        (patterns[item["position"]]["pattern"], "by_class" in patterns[item["position"]])
        for item in refusing["patterns"]
    ]
    return (
        *hidden, permitted if facts["default"] == "deny" else None, tuple(refusing["tools"]), tuple(refusing_patterns),
        bool(refusing["any_tool"]), tuple(classed) if any(by_class for _, by_class in refusing_patterns) else (),
    )  # fmt: skip


def _every_read(reads: dict[str, Any]) -> list[Reads]:
    return [_reads(read) for read in (*reads["tools"].values(), *reads["patterns"], *reads["any_tool"])]


def _reads(read: dict[str, Any]) -> Reads:
    counters = tuple(
        CounterRead(
            item["name"],
            item["counter"],
            NAMED_WINDOWS.get(item["window"], item["window"]),
            item["scope"],
            each_tool=item.get("each_tool", False),
            sliding=item.get("sliding", False),
        )
        for item in read["counters"]
    )
    paths, caller = (tuple(map(tuple, read[key])) for key in ("paths", "caller"))
    judged = set(map(tuple, read.get("nul_judged", ())))
    only, shadow = read["only"], read.get("shadow", {"paths": (), "only": None})
    return Reads(
        paths, None if only is None else frozenset(only), caller, counters,
        tuple(map(tuple, shadow["paths"])), shadow["only"] is not None,
        no_nul=tuple(path for path in paths if path not in judged),
    )  # fmt: skip


def _custom_reads(read: dict[str, Any] | None) -> Reads:
    """What hand-written Rego reads, whichever tool is called."""
    if read is None:
        return Reads()
    paths, caller = (tuple(map(tuple, read[key])) for key in ("paths", "caller"))
    return Reads(
        paths, caller=caller, keys=read["keys"], time=read["time"], whole=read["whole"], lasting=read["lasting"],
        no_nul=paths,
    )  # fmt: skip
