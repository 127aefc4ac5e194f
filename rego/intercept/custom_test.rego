# METADATA
# description: What hand-written rules add to a decision, in which form, and that it is only ever added.
package intercept.custom_joins_test

import data.intercept

facts := {
	"default": "allow",
	"hide": {"tools": ["secret"], "patterns": []},
	"tools": {
		"free": [],
		"checked": [rule("checked", {})],
		"asked": [rule("asked", {"approval": {
			"timeout": 60,
			"use_within": 30,
			"approvers": 1,
			"content": "a",
			"grant": {"for": 5},
		}})],
		"watched": [rule("watched", {"monitor": true})],
	},
	"patterns": [],
	"any_tool": [],
	"approvals": {"timeout": 1800, "use_within": 600},
	"custom": {"content": "digest", "rules": []},
}

rule(name, more) := object.union({"id": name, "name": name, "kind": "rule", "reason": "no", "monitor": false}, more)

policy := {"passes": {"checked": true, "asked": true}}

question(tool) := {"version": 1, "method": "tools/call", "server": "s", "tool": tool, "arguments": {}}

decide_by(tool, known, proven, custom) := decision if {
	decision := intercept.decision with input as question(tool)
		with data.intercept.facts as known
		with data.intercept.policy as proven
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
		with data.intercept.custom as custom
}

decide(tool, custom) := decide_by(tool, facts, policy, custom)

refusing(names) := {"violations": {{"rule": name, "reason": "own"} | some name in names}}

asking(element) := {"approvals": {object.union({"rule": "ask", "reason": "own"}, element)}}

said(name) := {"rule": name, "reason": "own", "kind": "custom", "monitor": false}

broken(name) := {
	"rule": name,
	"reason": sprintf("Hand-written rule \"%s\" says nothing that can be used", [name]),
	"kind": "custom_invalid",
	"monitor": false,
}

test_what_it_refuses_is_denied_whatever_the_policy_proves if {
	every tool in ["free", "checked", "asked", "other"] {
		decision := decide(tool, refusing({"b", "a"}))
		decision.action == "deny"
		decision.rule == "a"
		decision.reason == "own"
		decision.kind == "custom"
		decision.violations == [said("a"), said("b")]
		decision.reserve == []
		decision.approval == null
	}
}

test_the_policy_speaks_first if {
	decision := decide_by("checked", facts, {}, refusing({"a"}))
	decision.rule == "checked"
	[violation.rule | some violation in decision.violations] == ["checked", "a"]
}

test_without_anything_to_say_the_decision_is_the_policys if {
	every tool in ["free", "checked", "asked", "watched", "secret", "other", "intercept/canary-denied"] {
		every custom in [{}, {"violations": set(), "approvals": set()}, {"helper": 5}] {
			decide(tool, custom) == decide_by(tool, object.remove(facts, ["custom"]), policy, {})
		}
	}
}

test_it_can_open_nothing if {
	loose := [
		{"allow": true, "proved": true, "callable": true, "permitted": true, "violations": set(), "approvals": set()},
		asking({}),
		refusing({"a"}),
	]
	every custom in loose {
		decide("secret", custom) == decide("secret", {})
		decide_by("other", object.union(facts, {"default": "deny"}), policy, custom).kind == "default_deny"
		decide_by("checked", facts, {}, custom).rule == "checked"
	}
}

test_it_does_not_speak_on_a_canary if {
	every custom in [refusing({"a"}), asking({}), {"violations": 5}] {
		decide("intercept/canary-allowed", custom).action == "allow"
		decide("intercept/canary-denied", custom).rule == "(canary)"
		count(decide("intercept/canary-denied", custom).violations) == 1
	}
}

test_one_that_only_reports_lets_the_call_pass if {
	custom := {"violations": {{"rule": "a", "reason": "own", "monitor": true}}}
	decision := decide("free", custom)
	decision.action == "allow"
	decision.violations == [object.union(said("a"), {"monitor": true})]
}

test_what_it_asks_for_is_asked_with_the_policys_terms_for_the_rest if {
	decision := decide("free", asking({}))
	decision.action == "require_approval"
	decision.rule == "ask"
	decision.kind == "approval_required"
	decision.approval == {"timeout": 1800, "use_within": 600, "approvers": 1, "content": "digest", "grant": null}
	other := decide("free", asking({"timeout": 60, "approvers": 2.0}))
	other.approval == object.union(decision.approval, {"timeout": 60, "approvers": 2})
}

test_with_a_rule_of_the_policy_the_strictest_is_asked_for_and_nothing_is_granted if {
	decision := decide("asked", asking({"approvers": 2}))
	decision.rule == "asked"
	decision.approval == {"timeout": 60, "use_within": 30, "approvers": 2, "content": "a digest", "grant": null}
	decide("asked", {}).approval.grant == {"for": 5}
}

test_a_refusal_beats_what_it_asks_for if {
	decide("free", object.union(asking({}), refusing({"a"}))).action == "deny"
	decide_by("checked", facts, {}, asking({})).action == "deny"
}

odd_violations := [
	"text", 5, null, true, [], ["a"], {}, {"rule": "a"}, {"reason": "own"}, {"rule": "", "reason": "own"},
	{"rule": "a", "reason": ""}, {"rule": 5, "reason": "own"}, {"rule": "a", "reason": ["own"]}, {{"rule", "reason"}},
	{"rule": "a", "reason": "own", "monitor": "true"}, {"rule": "a", "reason": "own", "monitor": null},
	{"rule": "a", "reason": "own", "kind": "allow"}, {"rule": "a", "reason": "own", "more": 1},
	{"rule": "a", "reason": "own", "approvers": 2},
]

odd_approvals := array.concat(odd_violations, [
	{"rule": "a", "reason": "own", "timeout": 0}, {"rule": "a", "reason": "own", "timeout": 1.5},
	{"rule": "a", "reason": "own", "timeout": "60"}, {"rule": "a", "reason": "own", "timeout": null},
	{"rule": "a", "reason": "own", "timeout": 2592001}, {"rule": "a", "reason": "own", "approvers": 0},
	{"rule": "a", "reason": "own", "approvers": -1}, {"rule": "a", "reason": "own", "approvers": 1001},
	{"rule": "a", "reason": "own", "monitor": true}, {"rule": "a", "reason": "own", "content": "x"},
	{"rule": "a", "reason": "own", "grant": {"for": 5}}, {"rule": "a", "reason": "own", "use_within": 5},
])

test_a_violation_that_nobody_can_go_by_is_a_denial if {
	every odd in odd_violations {
		decide("free", {"violations": {odd}}).kind == "custom_invalid"
	}
}

test_a_request_that_nobody_can_go_by_is_a_denial if {
	every odd in array.slice(odd_approvals, 0, count(odd_violations) - 1) {
		decide("free", {"approvals": {odd}}).kind == "custom_invalid"
	}
}

test_a_request_with_odd_terms_is_a_denial if {
	every odd in array.slice(odd_approvals, count(odd_violations), count(odd_approvals)) {
		decide("free", {"approvals": {odd}}).kind == "custom_invalid"
	}
}

test_beside_one_that_is_good_it_is_a_denial_too if {
	decide("free", {"violations": {"text", {"rule": "w", "reason": "own", "monitor": true}}}).action == "deny"
	decide("free", {"approvals": {"text", {"rule": "w", "reason": "own"}}}).action == "deny"
}

test_it_is_named_where_it_has_a_name if {
	decide("free", {"violations": {{"rule": "a", "reason": "own", "more": 1}}}).violations == [broken("a")]
	decide("free", {"violations": {{"rule": 5}}}).violations == [broken("violations")]
	decide("free", {"approvals": {{"rule": 5}}}).violations == [broken("approvals")]
}

test_what_is_no_set_is_a_denial if {
	every odd in [null, true, false, 5, "text", [], ["a"], {}, {"a": 1}, [{"rule": "a", "reason": "own"}]] {
		decide("free", {"violations": odd}).action == "deny"
		decide("free", {"approvals": odd}).kind == "custom_invalid"
	}
}

test_a_set_that_rules_add_to_and_that_is_not_there_is_a_denial if {
	every asks, name in {false: "violations", true: "approvals"} {
		known := object.union(facts, {"custom": {"content": "digest", "rules": [{"asks": asks}]}})
		decide_by("free", known, policy, {}).violations == [broken(name)]
		decide_by("free", known, policy, {name: set()}).action == "allow"
	}
}

test_it_is_quiet_exactly_where_its_violations_add_nothing if {
	every value in values {
		is_told_rightly({"violations": each | some each in value})
	}
}

test_it_is_quiet_exactly_where_its_approvals_add_nothing if {
	every value in values {
		is_told_rightly({"approvals": each | some each in value})
	}
}

test_it_is_quiet_without_any_and_not_where_it_refuses if {
	is_quiet({}, facts)
	not is_quiet(refusing({"a"}), facts)
}

# What a set may be, each in a list: nothing at all, empty, with something in it, or no set.
values := array.concat(
	[[], [set()], [{{"rule": "a", "reason": "own"}}], [{{"rule": "a", "reason": "own", "monitor": true}}]],
	[[odd] | some odd in [null, false, true, 0, "", [], {}, ["a"], {"a": 1}, {"a"}, {5}]],
)

is_told_rightly(custom) if {
	every rules in [[], [{"asks": true}, {"asks": false}]] {
		known := object.union(facts, {"custom": {"content": "digest", "rules": rules}})
		is_quiet(custom, known) == adds_nothing(custom, known)
	}
}

adds_nothing(custom, known) if decide_by("free", known, policy, custom) == plain

plain := decide("free", {})

default is_quiet(_, _) := false

is_quiet(custom, known) if {
	intercept.quiet with input as question("free")
		with data.intercept.facts as known
		with data.intercept.custom as custom
}

default adds_nothing(_, _) := false

test_it_speaks_whatever_the_facts_say_of_it if {
	known := object.remove(facts, ["custom"])
	decide_by("free", known, policy, refusing({"a"})).violations == [said("a")]
	every odd in [false, null, 5, {}] {
		decide_by("free", known, policy, {"violations": odd}).action == "deny"
		decide_by("free", known, policy, {"approvals": odd}).action == "deny"
	}
}
