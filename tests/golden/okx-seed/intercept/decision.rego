# METADATA
# title: The decision on one tool call
# description: |
#   One question, one answer. A call is allowed only by proof: every rule that applies to its tool must stand in
#   data.intercept.policy.passes. What the rules are called and say stands in data.intercept.facts, what they ask in
#   the generated package intercept.policy. The answer names the revision and the serial of the bundle it comes from.
package intercept

# What holds when nothing could be proved either way. It carries no revision, so whoever asks takes it for no answer.
default decision := {
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
# title: decision
# description: The answer to the question in input, exactly these ten keys.
# entrypoint: true
decision := answer("deny", {"rule": first.rule, "reason": first.reason, "kind": first.kind}, []) if {
	asked
	first := violations[0]
}

decision := answer("allow", {"rule": "", "reason": "", "kind": "allow"}, reservations) if {
	asked
	count(violations) == 0
	permitted
	every rule in rules {
		proven(rule)
	}
}

# METADATA
# description: True for a question that this library can answer.
asked if {
	input.version == 1
	input.method == "tools/call"
	is_string(input.tool)
	is_object(input.arguments)
}

# METADATA
# description: The rules that apply to the tool, in the order of the policy; those under "*" come last.
rules := array.concat(
	object.get(data.intercept.facts.tools, input.tool, []),
	data.intercept.facts.any_tool,
) if {
	not canary
}

rules := [] if canary

# METADATA
# description: True when the tool may be called at all.
permitted if data.intercept.facts["default"] == "allow"

permitted if data.intercept.facts.tools[input.tool]

permitted if input.tool == "intercept/canary-allowed"

# METADATA
# description: Every reason to refuse, the first that counts in front.
violations := [{
	"rule": "(canary)",
	"reason": "The canary is always refused",
	"kind": "canary",
	"monitor": false,
}] if {
	input.tool == "intercept/canary-denied"
}

violations := [{
	"rule": "(default deny)",
	"reason": sprintf("Tool %s is not permitted by policy", [quoted(input.tool)]),
	"kind": "default_deny",
	"monitor": false,
}] if {
	input.tool != "intercept/canary-denied"
	not permitted
}

violations := [violation |
	some rule in rules
	not proven(rule)
	violation := {"rule": rule.name, "reason": rule.reason, "kind": rule.kind, "monitor": false}
] if {
	input.tool != "intercept/canary-denied"
	permitted
}

# METADATA
# description: |
#   True when the compiled policy shows that the call passes the rule. A rule of its own because what is negated must
#   not be undefined: in a policy that only denies, the package intercept.policy has no rules at all.
proven(rule) if rule.id in data.intercept.policy.passes

# METADATA
# description: What an allowed call takes from the counters of its rules.
reservations := [object.union(rule.limit, {
	"amount": 1,
	"rule": rule.name,
	"reason": rule.reason,
	"kind": rule.kind,
}) |
	some rule in rules
	rule.limit
]

# METADATA
# description: True for the two tools that stand for no tool and prove that this engine denies and allows.
canary if input.tool in ["intercept/canary-allowed", "intercept/canary-denied"]

# METADATA
# description: |
#   A name between quotes, escaped as in a JSON string. OPA's own escapes of < > & are taken back; an escaped
#   backslash is named first, so that what follows it is not taken for one of them.
quoted(name) := strings.replace_n(
	{`\\`: `\\`, `\u003c`: "<", `\u003e`: ">", `\u0026`: "&"},
	json.marshal(name),
)

# METADATA
# description: The whole answer; there is no other place that makes one.
answer(action, why, reserve) := {
	"version": 1,
	"action": action,
	"kind": why.kind,
	"rule": why.rule,
	"reason": why.reason,
	"violations": violations,
	"reserve": reserve,
	"approval": null,
	"revision": data.intercept.bundle.revision,
	"serial": data.intercept.bundle.serial,
}
