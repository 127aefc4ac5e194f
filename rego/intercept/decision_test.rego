# METADATA
# description: One question, one answer; the whole of it is compared, so that nothing can be in it by accident.
package intercept_test

import data.intercept

facts := {
	"default": "allow",
	"tools": {
		"free": [],
		"checked": [rule("checked#1", "first"), rule("checked#2", "second"), rule("checked#3", "third")],
		"counted": [object.union(rule("counted#1", "hourly"), {"kind": "rate_limit", "limit": hourly})],
	},
	"any_tool": [rule("*#1", "for all")],
}

hourly := {"counter": "counted._rate_hour", "limit": 3, "window": "hour", "scope": "global"}

rule(id, name) := {
	"id": id,
	"name": name,
	"kind": "rule",
	"reason": sprintf("no: %s", [name]),
	"file": "policy.yaml",
	"line": 1,
}

question(tool) := {"version": 1, "method": "tools/call", "server": "s", "tool": tool, "arguments": {}}

answer(action, why, violations, reserve) := object.union(why, {
	"version": 1,
	"action": action,
	"violations": violations,
	"reserve": reserve,
	"approval": null,
	"revision": "r1",
	"serial": 7,
})

allowed(reserve) := answer("allow", {"kind": "allow", "rule": "", "reason": ""}, [], reserve)

denied(violations) := answer(
	"deny",
	{"kind": violations[0].kind, "rule": violations[0].rule, "reason": violations[0].reason},
	violations,
	[],
)

violation(name) := {"rule": name, "reason": sprintf("no: %s", [name]), "kind": "rule", "monitor": false}

not_permitted(name) := {
	"rule": "(default deny)",
	"reason": sprintf("Tool %s is not permitted by policy", [name]),
	"kind": "default_deny",
	"monitor": false,
}

# The decision on a question, under these facts, with these rules proven.
decide(asked, known, proven) := decision if {
	decision := intercept.decision with input as asked
		with data.intercept.facts as known
		with data.intercept.policy as {"passes": proven}
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
}

# The same where the compiled policy has no rule at all: the package is not there.
decide_without_policy(asked, known) := decision if {
	decision := intercept.decision with input as asked
		with data.intercept.facts as known
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
}

denying(known) := object.union(known, {"default": "deny"})

undecided := {
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

test_a_call_is_allowed_when_every_rule_that_applies_is_proven if {
	decide(question("checked"), facts, {"checked#1", "checked#2", "checked#3", "*#1"}) == allowed([])
}

test_the_first_rule_that_is_not_proven_speaks_and_all_are_listed if {
	decide(question("checked"), facts, {"checked#2"}) == denied([
		violation("first"),
		violation("third"),
		violation("for all"),
	])
}

test_any_single_rule_that_is_not_proven_denies if {
	names := {"checked#1": "first", "checked#2": "second", "checked#3": "third", "*#1": "for all"}
	every id, name in names {
		decide(question("checked"), facts, object.keys(names) - {id}) == denied([violation(name)])
	}
}

test_proof_of_another_tools_rules_proves_nothing if {
	others := {"checked", "checked#", "#1", "", "checked#11", "Checked#1", "free#1", "*"}
	count(decide(question("checked"), facts, others).violations) == 4
}

test_a_tool_without_rules_has_only_those_for_all if {
	decide(question("free"), facts, {"*#1"}) == allowed([])
	decide(question("free"), facts, set()) == denied([violation("for all")])
}

test_an_unknown_tool_has_only_the_rules_for_all_when_the_default_is_allow if {
	decide(question("other"), facts, {"*#1"}) == allowed([])
	decide(question("other"), facts, set()) == denied([violation("for all")])
}

test_an_unknown_tool_is_denied_when_the_default_is_deny if {
	every tool in ["other", "*", "", "Free", "free ", "_global"] {
		decide(question(tool), denying(facts), {"*#1"}) == denied([not_permitted(sprintf("\"%s\"", [tool]))])
	}
}

test_a_listed_tool_is_permitted_when_the_default_is_deny if {
	decide(question("free"), denying(facts), {"*#1"}) == allowed([])
}

test_a_name_is_quoted_as_in_json_and_its_letters_stay if {
	quoted := {
		`say "no"`: `"say \"no\""`,
		`a\b`: `"a\\b"`,
		"a\nb": `"a\nb"`,
		"<b>&": `"<b>&"`,
		`\u003c`: `"\\u003c"`,
		`\\u003c`: `"\\\\u003c"`,
		"\u2028": `"\u2028"`,
		"日本": `"日本"`,
	}
	every name, text in quoted {
		decide(question(name), denying(facts), set()) == denied([not_permitted(text)])
	}
}

test_an_allowed_call_takes_from_every_counter_that_applies if {
	decide(question("counted"), facts, {"counted#1", "*#1"}) == allowed([object.union(hourly, {
		"amount": 1,
		"rule": "hourly",
		"reason": "no: hourly",
		"kind": "rate_limit",
	})])
}

test_a_denied_call_takes_nothing if {
	decide(question("counted"), facts, {"counted#1"}) == denied([violation("for all")])
}

test_a_policy_that_proves_nothing_still_denies_and_allows if {
	without_any := object.union(facts, {"any_tool": []})
	decide_without_policy(question("checked"), without_any) == denied([
		violation("first"),
		violation("second"),
		violation("third"),
	])
	decide_without_policy(question("free"), without_any) == allowed([])
	decide_without_policy(question("other"), without_any) == allowed([])
	decide_without_policy(question("other"), denying(without_any)) == denied([not_permitted(`"other"`)])
	decide_without_policy(question("other"), facts) == denied([violation("for all")])
}

test_the_canaries_are_right_whatever_the_policy_says if {
	canary := {"rule": "(canary)", "reason": "The canary is always refused", "kind": "canary", "monitor": false}
	strict := object.union(facts, {"tools": {"intercept/canary-allowed": [rule("x#1", "x")]}})
	every known in [facts, denying(facts), strict, denying(strict)] {
		every proven in [set(), {"*#1"}] {
			decide(question("intercept/canary-denied"), known, proven) == denied([canary])
			decide(question("intercept/canary-allowed"), known, proven) == allowed([])
		}
		decide_without_policy(question("intercept/canary-denied"), known) == denied([canary])
		decide_without_policy(question("intercept/canary-allowed"), known) == allowed([])
	}
}

test_what_is_no_question_is_not_decided if {
	wrong := [
		{},
		object.remove(question("free"), ["version"]),
		object.remove(question("free"), ["method"]),
		object.remove(question("free"), ["tool"]),
		object.remove(question("free"), ["arguments"]),
		object.union(question("free"), {"version": 2}),
		object.union(question("free"), {"version": "1"}),
		object.union(question("free"), {"method": "tools/list"}),
		object.union(question("free"), {"tool": null}),
		object.union(question("free"), {"tool": ["free"]}),
		object.union(question("free"), {"arguments": null}),
		object.union(question("free"), {"arguments": []}),
		object.union(question("free"), {"arguments": "{}"}),
	]
	every asked in wrong {
		decide(asked, facts, {"*#1"}) == undecided
	}
}

test_without_facts_or_stamp_nothing_is_decided if {
	intercept.decision == undecided with input as question("free")
	intercept.decision == undecided with input as question("free")
		with data.intercept.facts as facts
		with data.intercept.policy as {"passes": {"*#1"}}
	intercept.decision == undecided with input as question("free")
		with data.intercept.facts as object.remove(facts, ["any_tool"])
		with data.intercept.policy as {"passes": {"*#1"}}
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
}

test_with_empty_facts_no_tool_is_permitted if {
	every tool in ["free", "checked", "other"] {
		decide(question(tool), {}, {"*#1"}) == denied([not_permitted(sprintf("\"%s\"", [tool]))])
	}
}
