# METADATA
# title: The decision on one tool call, and on a list of tools
# description: |
#   One question, one answer. A call is allowed only by proof: every rule that applies to its tool must hold in
#   data.intercept.policy.passes. What the rules are called and say stands in data.intercept.facts, what they ask in
#   the generated package intercept.policy. The answer names the revision and the serial of the bundle it comes from.
# scope: package

# METADATA
# description: What questions and data look like; `opa check --schema` finds a path that is in neither.
# scope: subpackages
# schemas:
#   - input: schema.input
#   - data.intercept.facts: schema.intercept.facts.data
#   - data.intercept.bundle: schema.intercept.bundle.data
package intercept

import data.intercept.place

# METADATA
# title: decision
# description: |
#   The answer to the question in input: on a call exactly these ten keys, on a list the visible tools and why each
#   other is hidden, on the engine its version. A call that is proved to pass every rule that applies, with nothing to
#   report or to ask, has a constant answer; only for any other the rules are gone through one by one.
# entrypoint: true
decision := data.intercept.bundle.allow if {
	# What most calls need, written out: each rule in between costs time. The proof says that the tool is a text.
	input.version == 1
	input.method == "tools/call"
	is_object(input.arguments)
	data.intercept.policy.proved
	data.intercept.facts.reserves.tools[input.tool] == []
} else := object.union(data.intercept.bundle.allow, {"reserve": reserved}) if {
	is_array(reserved)
} else := worked_out

# METADATA
# description: |
#   What a call takes that is proved to pass; undefined when it is not. It is worked out only where it depends on the
#   call.
reserved := data.intercept.facts.reserves.tools[input.tool] if {
	answerable
	data.intercept.policy.proved
} else := reservations if {
	answerable
	data.intercept.policy.proved
} else := data.intercept.facts.reserves.others if {
	others_proved
} else := reservations if {
	others_proved
}

# METADATA
# description: |
#   True when a call of a tool without rules of its own is proved to pass every rule that applies. The compiler knows
#   of the other tools whether they may be called, of these nothing.
others_proved if {
	answerable
	not data.intercept.facts.tools[input.tool][0]
	not canary
	callable
	data.intercept.policy.others_proved
}

# What holds when nothing could be proved either way. It carries no revision, so whoever asks takes it for no answer.
default worked_out := {
	"version": 1,
	"action": "deny",
	"kind": "undecided",
	"rule": "",
	"reason": "No rule decided this call",
	"violations": [],
	"reserve": [],
	"approval": null,
	"revision": "",
	"serial": 0,
}

# METADATA
# title: worked_out
# description: The answer to any question, on a call by going through the rules that apply.
worked_out := answer("deny", refusals[0], violations, []) if {
	answerable
	refusals != []
}

worked_out := object.union(
	answer("require_approval", approvals[0], violations, reservations),
	{"approval": approval},
) if {
	answerable
	allowed
	approvals != []
}

worked_out := answer("allow", {"rule": "", "reason": "", "kind": "allow"}, violations, reservations) if {
	answerable
	allowed
	approvals == []
}

worked_out := {
	"version": 1,
	"revision": data.intercept.bundle.revision,
	"serial": data.intercept.bundle.serial,
	"visible": [tool | some tool in input.tools; not withheld[tool]],
	"hidden": withheld,
} if {
	input.version == 1
	input.method == "tools/list"
	every tool in input.tools {
		is_string(tool)
	}
}

# The answer to whoever asks which engine decides here, and whether it takes bundles that nobody signed: known only from
# the engine itself.
worked_out := {
	"version": 1,
	"revision": data.intercept.bundle.revision,
	"serial": data.intercept.bundle.serial,
	"engine": opa.runtime().version,
	"verifies": verifies,
} if {
	input.version == 1
	input.method == "intercept/engine"
}

default verifies := false

# METADATA
# description: |
#   True when this engine is configured to take every bundle with a signature by our key only. Any other member of
#   `signing` makes an exception, for some files or for deltas.
verifies if {
	count(opa.runtime().config.bundles) > 0
	every bundle in opa.runtime().config.bundles {
		bundle.signing == {"keyid": "intercept", "scope": "intercept"}
	}
}

# METADATA
# description: True for a question about a call that this library can answer.
answerable if {
	input.version == 1
	input.method == "tools/call"
	is_string(input.tool)
	is_object(input.arguments)
}

# METADATA
# description: True when the tool may be called, and every rule that applies to it is proved to be met.
allowed if {
	refusals == []
	callable
	every rule in rules {
		met(rule)
	}
}

# METADATA
# description: True when the tool may be called at all, whatever it is called with.
callable if {
	not tool_hidden
	permitted
}

callable if input.tool == "intercept/canary-allowed"

# METADATA
# description: The tools of a list that are not shown, each with what refuses every call of it.
withheld[tool] := "(hidden)" if {
	some tool in input.tools
	hidden(tool)
}

withheld[tool] := why if {
	data.intercept.facts.list == "callable"
	some tool in input.tools
	not hidden(tool)

	# A question of its own: to put the tool into this one takes twice as long.
	why := refused_always with input as {"tool": tool}
}

# METADATA
# description: |
#   What refuses every call of a tool that is not hidden, whatever its arguments; undefined where nothing does.
refused_always := "(default deny)" if {
	not permitted
} else := never_passed[0]

# METADATA
# description: |
#   The names of the rules that apply to the tool and that no call gets past, in the order that counts. They stand in
#   the data by themselves: to go through all rules takes too long for every tool of a list.
never_passed := array.flatten([
	[name | some name in data.intercept.facts.never_passed.tools[input.tool]],
	[name |
		some refusing in data.intercept.facts.never_passed.patterns
		entry := data.intercept.facts.patterns[refusing.position]
		regex.match(entry.pattern, input.tool)
		not overruled(refusing.position, entry)
		some name in refusing.rules
	],
	data.intercept.facts.never_passed.any_tool,
])

# METADATA
# description: True when the policy hides the tool that is called; a rule, so that it is worked out once.
tool_hidden if hidden(input.tool)

# METADATA
# description: True when the policy hides a tool.
hidden(tool) if tool in data.intercept.facts.hide.tools

hidden(tool) if {
	some pattern in data.intercept.facts.hide.patterns
	regex.match(pattern, tool)
}

# METADATA
# description: |
#   True when the policy permits the tool, by default or by an entry that is about it; one whose pattern is made of
#   wildcards alone is about no tool in particular, as "*" is, and one whose rules are all in shadow permits nothing.
permitted if data.intercept.facts["default"] == "allow"

permitted if {
	data.intercept.facts.tools[input.tool]
	not only_tried
}

permitted if {
	some entry in data.intercept.facts.patterns
	entry.permits
	regex.match(entry.pattern, input.tool)
}

# METADATA
# description: |
#   True when all rules of the tool's own entry are in shadow. A rule of its own because what is negated must not be
#   undefined: most policies say nothing of it.
only_tried if input.tool in data.intercept.facts.shadowed

# METADATA
# description: The rules that apply to the tool, in the order that counts; none to a canary.
rules := array.flatten([
	object.get(data.intercept.facts.tools, input.tool, []),
	rules_of_patterns,
	data.intercept.facts.any_tool,
]) if {
	not canary
}

rules := [] if canary

# METADATA
# description: |
#   The rules of each entry whose pattern matches the tool. Those of a class only where no other entry gives the tool
#   its class: what cannot be shown to do so leaves them in force.
rules_of_patterns := [rule |
	some position, entry in data.intercept.facts.patterns
	regex.match(entry.pattern, input.tool)
	not overruled(position, entry)
	some rule in entry.rules
]

# METADATA
# description: True when the rules of an entry are those of a class, and another entry gives the tool its class.
overruled(_, entry) if {
	entry.by_class
	data.intercept.facts.risks.tools[input.tool].class
}

overruled(position, entry) if {
	entry.by_class
	some other, earlier in data.intercept.facts.patterns
	other < position
	data.intercept.facts.risks.patterns[other].class
	regex.match(earlier.pattern, input.tool)
}

# METADATA
# description: True for the two tools that stand for no tool and prove that this engine denies and allows.
canary if input.tool in ["intercept/canary-allowed", "intercept/canary-denied"]

# METADATA
# description: |
#   True when the compiled policy shows that the call passes the rule. A rule of its own because what is negated must
#   not be undefined: in a policy that only denies, the package intercept.policy has no rules at all.
proven(rule) if data.intercept.policy.passes[rule.id]

# METADATA
# description: True when the rule does not stand in the way. One that only monitors never does.
met(rule) if proven(rule)

met(rule) if rule.monitor

# METADATA
# description: True when the compiled policy shows that the call needs no approval by the rule.
unasked(rule) if data.intercept.policy.unasked[rule.id]

# METADATA
# description: True when the call needs an approval by the rule.
asks(rule) if {
	rule.approval
	not unasked(rule)
}

# METADATA
# description: True when the call has an amount that the rule can count, or the rule counts none.
countable(rule) if not rule.needs_amount

countable(rule) if is_number(data.intercept.policy.amounts[rule.id])

# METADATA
# description: Every reason to refuse, and to report where a rule only monitors, in the order that counts.
violations := [{
	"rule": "(canary)",
	"reason": "The canary is always refused",
	"kind": "canary",
	"monitor": false,
}] if {
	input.tool == "intercept/canary-denied"
}

violations := [{
	"rule": "(hidden)",
	"reason": sprintf("Tool %s is hidden by policy", [quoted(input.tool)]),
	"kind": "hidden",
	"monitor": false,
}] if {
	not canary
	tool_hidden
}

violations := [{
	"rule": "(default deny)",
	"reason": sprintf("Tool %s is not permitted by policy", [quoted(input.tool)]),
	"kind": "default_deny",
	"monitor": false,
}] if {
	not canary
	not tool_hidden
	not permitted
}

violations := array.concat(
	[violation |
		some rule in rules
		some violation in violations_of(rule)
	],
	spoken.violations,
) if {
	input.tool != "intercept/canary-denied"
	callable
}

# METADATA
# description: What one rule has to say against the call; nothing when it is met.
violations_of(rule) := [violation |
	not proven(rule)
	violation := said_by(rule, told(rule), rule.kind)
] if {
	countable(rule)
	not would_ask(rule)
}

violations_of(rule) := [said_by(rule, rule.reason, "approval_required")] if {
	countable(rule)
	would_ask(rule)
}

violations_of(rule) := [said_by(rule, rule.needs_amount, "invalid_amount")] if not countable(rule)

# METADATA
# description: A reason of a rule, and whether the rule only reports it.
said_by(rule, reason, kind) := {
	"rule": rule.name,
	"reason": reason,
	"kind": kind,
	"monitor": true,
	"shadow": true,
} if {
	rule.monitor
	rule.shadow
} else := {"rule": rule.name, "reason": reason, "kind": kind, "monitor": rule.monitor}

# METADATA
# description: |
#   The message of a rule that refuses. Where the policy gives no reason, another line says which of its demands is not
#   met, the first of those that are not shown to be.
told(rule) := concat("\n", [rule.reason, unmet[0]]) if {
	unmet := [said |
		some at, demand in rule.says
		not shown(rule, at)
		said := in_words(demand)
	]
} else := rule.reason

# METADATA
# description: True when the compiled policy shows that one of the demands of the rule is met.
shown(rule, at) if data.intercept.policy.shows[rule.id][at]

# METADATA
# description: What the call should have been. No value of the call is in it.
in_words(demand) := concat("", [demand.words, missing(demand)]) if demand.words

in_words(demand) := concat(", ", array.concat(array.slice(named, 0, 3), more)) if {
	is_array(demand.only)
	others := [key | some key in input.keys; not key in demand.only]
	plain := [key | some key in others; regex.match(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`, key)]
	named := [sprintf("args.%s is not permitted here", [key]) | some key in plain]
	more := ["args has another key that is not permitted here" | count(others) > min([count(named), 3])]
}

# METADATA
# description: What is said of an argument that is not there, or of another type than the demand can be met by.
missing(demand) := "; it is missing" if {
	place.found(0, input.arguments, demand.way) == set()
} else := "; it is null" if {
	place.found(0, input.arguments, demand.way) == null
} else := unlike[demand.type] if {
	not type_name(place.found(0, input.arguments, demand.way)) in [demand.type, "set"]
} else := ""

# METADATA
# description: What is said of a value that is not of the type that is wanted.
unlike := {"number": "; it is no number", "string": "; it is no text"}

# METADATA
# description: True when the call needs an approval by a rule that only monitors.
would_ask(rule) if {
	rule.monitor
	proven(rule)
	asks(rule)
}

# METADATA
# description: The violations that refuse the call.
refusals := [violation | some violation in violations; not violation.monitor]

# METADATA
# description: The rules by which a person has to agree, the first that counts in front.
approvals := array.concat(
	[{"rule": rule.name, "reason": rule.reason, "kind": "approval_required", "terms": rule.approval} |
		some rule in rules
		asks(rule)
		not rule.monitor
	],
	spoken.approvals,
)

# METADATA
# description: |
#   The approval that the call needs, by all the rules that ask: the shortest times, the most people, and the content of
#   each of them.
approval := {
	"timeout": min([asked.terms.timeout | some asked in approvals]),
	"use_within": min([asked.terms.use_within | some asked in approvals]),
	"approvers": max([asked.terms.approvers | some asked in approvals]),
	"content": concat(" ", sort({asked.terms.content | some asked in approvals})),
	"grant": grant,
}

# METADATA
# description: |
#   What people may agree to beyond the call; null where no rule offers it, or several ask, of which one may not know the
#   terms of another.
default grant := null

grant := approvals[0].terms.grant if count(approvals) == 1

# METADATA
# description: |
#   What hand-written rules add: after the rules of the policy, in an order that depends on nothing but what they say.
#   Each list is only ever added to another, so nothing in it can take anything away.
default spoken := {"violations": [], "approvals": []}

spoken := {
	"violations": array.concat(
		[said | some [_, _, said] in sort([[known.rule, known.reason, known] | some known in custom_violations])],
		[broken(name) | some name in unusable],
	),
	"approvals": [said |
		some [_, _, said] in sort([[known.rule, known.reason, known] | some known in custom_approvals])
	],
} if {
	not canary # before anything of theirs is looked at: whether the engine is there must not hang on it
	custom_speaks
}

# METADATA
# description: |
#   True where there are hand-written rules: by the facts, and whatever the facts say if one of the sets has any value.
#   Without it neither set is there or has to be, so all that `spoken` goes through would be empty.
custom_speaks if may_refuse

custom_speaks if may_ask

# METADATA
# description: |
#   True when hand-written rules refuse, ask, report and break nothing. Where there are any, every proof of a call needs
#   it: so what is proved passes them too. It holds exactly when `spoken` has nothing in it: an element of a set is said,
#   or is unusable, and so is what is no set, and a set that should be there. But it costs less than half of that.
quiet if {
	refuses_nothing
	asks_nothing
}

refuses_nothing if data.intercept.custom.violations == set()

refuses_nothing if not may_refuse

asks_nothing if data.intercept.custom.approvals == set()

asks_nothing if not may_ask

may_refuse if type_name(data.intercept.custom.violations)

may_refuse if {
	some rule in data.intercept.facts.custom.rules
	not rule.asks
}

may_ask if type_name(data.intercept.custom.approvals)

may_ask if {
	some rule in data.intercept.facts.custom.rules
	rule.asks
}

# METADATA
# description: What hand-written rules have to say against the call.
custom_violations contains object.union({"kind": "custom", "monitor": false}, said) if {
	some said in data.intercept.custom.violations
	refuses_well(said)
}

# METADATA
# description: The hand-written rules by which a person has to agree; what one does not say is as the policy has it.
custom_approvals contains {"rule": said.rule, "reason": said.reason, "kind": "approval_required", "terms": terms} if {
	some said in data.intercept.custom.approvals
	asks_well(said)
	terms := {
		"timeout": floor(object.get(said, "timeout", data.intercept.facts.approvals.timeout)),
		"use_within": data.intercept.facts.approvals.use_within,
		"approvers": floor(object.get(said, "approvers", 1)),
		"content": object.get(data.intercept.facts, ["custom", "content"], ""),
	}
}

# METADATA
# description: True for an element of `violations` in the one form that counts.
refuses_well(said) if {
	names_itself(said)
	object.keys(said) - {"rule", "reason", "monitor"} == set()
	is_boolean(object.get(said, "monitor", false))
}

# METADATA
# description: True for an element of `approvals` in the one form that counts; it waits for up to 30 days.
asks_well(said) if {
	names_itself(said)
	object.keys(said) - {"rule", "reason", "timeout", "approvers"} == set()
	counts(object.get(said, "timeout", 1), 2592000)
	counts(object.get(said, "approvers", 1), 1000)
}

# METADATA
# description: True for what has the name of its rule, and a message.
names_itself(said) if {
	is_object(said)
	every text in [said.rule, said.reason] {
		is_string(text)
		text != ""
	}
}

# METADATA
# description: True for a whole number from 1 on.
counts(number, most) if {
	is_number(number)
	floor(number) == number
	number >= 1
	number <= most
}

# METADATA
# description: |
#   The hand-written rules that say what nobody can go by, each by its name, or that of its set: they refuse the call. So
#   does what is no set, and a set that is not there although rules add to it.
unusable contains called(said, "violations") if {
	some said in data.intercept.custom.violations
	not refuses_well(said)
}

unusable contains called(said, "approvals") if {
	some said in data.intercept.custom.approvals
	not asks_well(said)
}

unusable contains "violations" if {
	may_refuse
	not are_violations
}

unusable contains "approvals" if {
	may_ask
	not are_approvals
}

# Rules of their own because what is negated must not be undefined.
are_violations if is_set(data.intercept.custom.violations)

are_approvals if is_set(data.intercept.custom.approvals)

# METADATA
# description: The name of the rule that says something, or that of its set where it gives none.
called(said, _) := said.rule if names_itself(said)

called(said, name) := name if not names_itself(said)

# METADATA
# description: What is said of a hand-written rule that says what nobody can go by.
broken(name) := {
	"rule": name,
	"reason": sprintf("Hand-written rule %s says nothing that can be used", [quoted(name)]),
	"kind": "custom_invalid",
	"monitor": false,
}

# METADATA
# description: What a call that passes takes from the counters of its rules.
reservations := [object.union(rule.limit, {"amount": amount_of(rule), "rule": rule.name}) |
	some rule in rules
	rule.limit
]

# METADATA
# description: What a call takes from the counter of a rule; either the rule says it or the call.
amount_of(rule) := rule.increment

amount_of(rule) := data.intercept.policy.amounts[rule.id] if rule.needs_amount

# METADATA
# description: |
#   A name between quotes, escaped as in a JSON string. OPA's own escapes of < > & are taken back; an escaped
#   backslash is named first, so that what follows it is not taken for one of them.
quoted(name) := strings.replace_n(
	{`\\`: `\\`, `\u003c`: "<", `\u003e`: ">", `\u0026`: "&"},
	json.marshal(name),
)

# METADATA
# description: The whole answer on a call, where it is not the constant one in data.intercept.bundle.allow.
answer(action, why, found, reserve) := {
	"version": 1,
	"action": action,
	"kind": why.kind,
	"rule": why.rule,
	"reason": why.reason,
	"violations": found,
	"reserve": reserve,
	"approval": null,
	"revision": data.intercept.bundle.revision,
	"serial": data.intercept.bundle.serial,
}

# METADATA
# title: decisions
# description: |
#   The answers to several questions, each under the position of its question: what a question has no answer to is
#   missing, and nothing else moves into its place, as it would in a list.
# entrypoint: true
decisions := {position: answered |
	some position, question in input.questions
	answered := data.intercept.decision with input as question
}
