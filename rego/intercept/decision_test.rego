# METADATA
# description: One question, one answer; the whole of it is compared, so that nothing can be in it by accident.
package intercept_test

import data.intercept

facts := {
	"default": "allow",
	"hide": {"tools": [], "patterns": []},
	"tools": {
		"free": [],
		"checked": [rule("checked#1", "first"), rule("checked#2", "second"), rule("checked#3", "third")],
		"counted": [counted],
		"spent": [spent],
	},
	"patterns": [],
	"any_tool": [rule("*#1", "for all")],
}

counted := object.union(rule("counted#1", "hourly"), {"kind": "rate_limit", "limit": hourly, "increment": 1})

hourly := {
	"counter": "counted._rate_hour",
	"limit": 3,
	"window": "hour",
	"scope": "global",
	"reason": "too often",
	"kind": "rate_limit",
}

spent := object.union(rule("spent#1", "budget"), {"kind": "spend_limit", "limit": daily, "needs_amount": "no number"})

daily := {
	"counter": "spent._spend_86400_global_n",
	"limit": 10.5,
	"window": "day",
	"scope": "global",
	"reason": "too much",
	"kind": "spend_limit",
	"exclusive": true,
}

rule(id, name) := {
	"id": id,
	"name": name,
	"kind": "rule",
	"reason": sprintf("no: %s", [name]),
	"file": "policy.yaml",
	"line": 1,
	"monitor": false,
}

monitored(known) := object.union(known, {"monitor": true})

tried(known) := object.union(known, {"monitor": true, "shadow": true})

asking(id, name, timeout) := object.union(rule(id, name), {"approval": terms(timeout)})

terms(timeout) := {"timeout": timeout, "use_within": 600, "approvers": 1, "content": sprintf("c%d", [timeout])}

# The facts with these rules for the tool `t`, and none for every tool.
only(rules) := object.union(facts, {"tools": {"t": rules}, "any_tool": []})

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

reported(violations) := answer("allow", {"kind": "allow", "rule": "", "reason": ""}, violations, [])

asked_for(name, approval) := object.union(
	answer(
		"require_approval", {"kind": "approval_required", "rule": name, "reason": sprintf("no: %s", [name])},
		[], [],
	),
	{"approval": object.union({"grant": null}, approval)},
)

denied(violations) := answer(
	"deny",
	{"kind": violations[0].kind, "rule": violations[0].rule, "reason": violations[0].reason},
	violations,
	[],
)

violation(name) := {"rule": name, "reason": sprintf("no: %s", [name]), "kind": "rule", "monitor": false}

invalid(name) := {
	"rule": name,
	"reason": "no number",
	"kind": "invalid_amount",
	"monitor": false,
}

is_hidden(name) := {
	"rule": "(hidden)",
	"reason": sprintf("Tool %s is hidden by policy", [name]),
	"kind": "hidden",
	"monitor": false,
}

not_permitted(name) := {
	"rule": "(default deny)",
	"reason": sprintf("Tool %s is not permitted by policy", [name]),
	"kind": "default_deny",
	"monitor": false,
}

# The decision on a question, under these facts, with these rules proven.
decide(asked, known, proven) := decide_by(asked, known, {"passes": proven})

# The same with all that the compiled policy says.
decide_by(asked, known, policy) := decision if {
	decision := intercept.decision with input as asked
		with data.intercept.facts as known
		with data.intercept.policy as policy
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
}

# The same where the compiled policy has no rule at all: the package is not there.
decide_without_policy(asked, known) := decision if {
	decision := intercept.decision with input as asked
		with data.intercept.facts as known
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
}

hiding(known, tools, patterns) := object.union(known, {"hide": {"tools": tools, "patterns": patterns}})

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

test_who_calls_and_where_we_run_change_no_decision if {
	known := {
		"principal": {"subject": "alice", "issuer": "https://issuer.example.com", "claims": {"groups": ["ops"]}},
		"workload": {"namespace": "prod", "pod": "agent-0", "service_account": "agent"},
	}
	every tool in ["free", "checked", "counted", "other"] {
		every proven in [set(), {"*#1"}, {"*#1", "counted#1"}, {"checked#1", "checked#2", "checked#3", "*#1"}] {
			every policy in [facts, denying(facts), hiding(facts, ["free"], [])] {
				told := object.union(question(tool), known)
				decide(told, policy, proven) == decide(question(tool), policy, proven)
			}
		}
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
	})])
	decide_by(question("spent"), facts, {"passes": {"spent#1", "*#1"}, "amounts": {"spent#1": 0.1}}) == allowed([
		object.union(daily, {"amount": 0.1, "rule": "budget"}),
	])
}

test_what_rules_take_is_listed_in_the_order_of_the_rules if {
	every_tool := object.union(counted, {"id": "*#1", "name": "all"})
	known := object.union(facts, {"any_tool": [every_tool]})
	decision := decide_by(question("spent"), known, {"passes": {"spent#1", "*#1"}, "amounts": {"spent#1": 5}})
	[[item.rule, item.amount] | some item in decision.reserve] == [["budget", 5], ["all", 1]]
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
	strict := object.union(facts, {
		"tools": {"intercept/canary-allowed": [rule("x#1", "x")]},
		"patterns": [{"name": "i*", "pattern": "^(?s:i.*)$", "permits": true, "rules": [rule("i*#1", "x")]}],
	})
	hidden := hiding(strict, ["intercept/canary-allowed", "intercept/canary-denied"], ["^(?s:.*)$"])
	every known in [facts, denying(facts), strict, denying(strict), hidden, denying(hidden)] {
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

test_where_the_rules_are_not_known_nothing_is_decided if {
	proven := {"checked#1", "checked#2", "checked#3", "counted#1", "*#1"}
	every part in ["tools", "any_tool"] {
		every tool in ["free", "checked", "counted", "other"] {
			decide(question(tool), object.remove(facts, [part]), proven) == undecided
		}
	}
}

test_where_rules_stand_in_no_list_nothing_is_allowed if {
	proven := {"free#1", "*#1"}
	every damaged in [null, false, "*#1", 1, {}, {"*#1": true}] {
		every known in [{"any_tool": damaged}, {"tools": {"free": damaged}}] {
			decide(question("free"), object.union(object.remove(facts, ["tools"]), known), proven).action == "deny"
		}
	}
}

test_with_empty_facts_no_tool_is_permitted if {
	every tool in ["free", "checked", "other"] {
		decide(question(tool), {}, {"*#1"}) == denied([not_permitted(sprintf("\"%s\"", [tool]))])
	}
}

test_a_hidden_tool_is_refused_before_everything_else if {
	hidden := hiding(facts, ["checked", "free"], [])
	every known in [hidden, denying(hidden)] {
		every proven in [set(), {"*#1", "checked#1", "checked#2", "checked#3"}] {
			decide(question("checked"), known, proven) == denied([is_hidden(`"checked"`)])
			decide(question("free"), known, proven) == denied([is_hidden(`"free"`)])
		}
	}
	decide_without_policy(question("free"), hidden) == denied([is_hidden(`"free"`)])
	decide(question("counted"), hidden, {"counted#1", "*#1"}).action == "allow"
	decide(question("Free"), hidden, {"*#1"}) == allowed([])
}

test_a_hidden_tool_is_refused_before_the_default_denies_it if {
	decide(question("other"), hiding(denying(facts), ["other"], []), {"*#1"}) == denied([is_hidden(`"other"`)])
}

test_hide_takes_patterns if {
	hidden := hiding(facts, [], ["^(?s:get_.*)$", "^(?s:v.)$"])
	every tool in ["get_", "get_x", "v1"] {
		decide(question(tool), hidden, {"*#1"}) == denied([is_hidden(sprintf("\"%s\"", [tool]))])
	}
	every tool in ["get", "xget_x", "v", "v12", "Get_x"] {
		decide(question(tool), hidden, {"*#1"}) == allowed([])
	}
	every tool in ["free", "", "a\nb"] {
		decide(question(tool), hiding(facts, [], ["^(?s:.*)$"]), {"*#1"}).kind == "hidden"
	}
}

test_a_list_shows_what_is_not_hidden_in_its_order if {
	asked := {"version": 1, "method": "tools/list", "server": "s", "tools": ["b", "get_x", "a", "free", "B"]}
	decide(asked, hiding(denying(facts), ["a", "b"], ["^(?s:get_.*)$"]), set()) == {
		"version": 1,
		"visible": ["free", "B"],
		"hidden": {"a": "(hidden)", "b": "(hidden)", "get_x": "(hidden)"},
		"revision": "r1",
		"serial": 7,
	}
	decide(object.union(asked, {"tools": []}), facts, set()) == {
		"version": 1, "visible": [], "hidden": {}, "revision": "r1", "serial": 7,
	}
}

# These facts, and lists only of what a call could pass.
callable_only(known) := object.union(known, {"list": "callable"})

test_a_list_of_callable_tools_lacks_what_no_call_could_pass_and_says_why if {
	asked := {
		"version": 1,
		"method": "tools/list",
		"server": "s",
		"tools": ["free", "checked", "spent", "get_x", "a", "get_y"],
	}
	known := object.union(hiding(facts, ["a"], []), {
		"patterns": [
			{"name": "s*", "pattern": "^(?s:s.*)$", "permits": true, "rules": [rule("s*#1", "s")]},
			{"name": "get_*", "pattern": "^(?s:get_.*)$", "permits": true, "rules": [rule("get_*#1", "g")]},
		],
		"never_passed": {
			"tools": {"checked": ["second", "third"]},
			"patterns": [{"position": 1, "rules": ["g"]}],
			"any_tool": [],
		},
	})
	refused := {"a": "(hidden)", "checked": "second", "get_x": "g", "get_y": "g"}
	decide(asked, callable_only(known), set()).hidden == refused
	decide(asked, callable_only(known), set()).visible == ["free", "spent"]
	decide(asked, known, set()).hidden == {"a": "(hidden)"}
	every_tool := object.union(callable_only(known), {"never_passed": {"any_tool": ["for all"]}})
	decide(asked, every_tool, set()).hidden == object.union(refused, {"free": "for all", "spent": "for all"})
}

test_under_a_default_that_denies_a_list_of_callable_tools_has_only_permitted_ones if {
	asked := {"version": 1, "method": "tools/list", "server": "s", "tools": ["free", "other"]}
	decide(asked, callable_only(denying(facts)), set()).hidden == {"other": "(default deny)"}
	decide(asked, callable_only(facts), set()).hidden == {}
}

# The facts of three patterns: the second has the rules of its class, the third those of another one.
classed(of_tools, of_first) := object.union(facts, {
	"patterns": [
		{"name": "a*", "pattern": "^(?s:a.*)$", "permits": true, "rules": []},
		{"name": "*b", "pattern": "^(?s:.*b)$", "permits": true, "rules": [rule("*b#1", "b")], "by_class": true},
		{"name": "*c*", "pattern": "^(?s:.*c.*)$", "permits": true, "rules": [rule("*c*#1", "c")], "by_class": true},
	],
	"any_tool": [],
	"risks": {"tools": of_tools, "patterns": [of_first, {"class": "Read"}, {"class": "Write"}], "any_tool": []},
})

test_the_rules_of_a_class_apply_by_the_entry_that_gives_the_class if {
	known := classed({"xb": {"class": "Read"}, "yb": {"severity": "low"}}, {"class": "Write"})
	every tool, rules in {
		"b": ["b"], "cb": ["b"], "c": ["c"],
		"ab": [], "ac": [],
		"xb": [], "yb": ["b"],
	} {
		[violation.rule | some violation in decide(question(tool), known, set()).violations] == rules
	}
	unclassed := classed({}, {"severity": "low"})
	every tool in ["ab", "acb", "xb"] {
		[violation.rule | some violation in decide(question(tool), unclassed, set()).violations] == ["b"]
	}
}

test_what_is_not_known_of_classes_leaves_their_rules_in_force if {
	known := object.remove(classed({}, {}), ["risks"])
	[violation.rule | some violation in decide(question("acb"), known, set()).violations] == ["b", "c"]
}

test_a_list_with_what_is_no_name_is_not_decided if {
	asked := {"version": 1, "method": "tools/list", "server": "s", "tools": ["a", 5]}
	every wrong in [asked, object.remove(asked, ["tools"]), object.union(asked, {"version": 2, "tools": []})] {
		decide(wrong, facts, set()) == undecided
	}
}

test_rules_count_in_the_order_exact_then_patterns_then_for_all if {
	known := object.union(facts, {"patterns": [
		{"name": "c*", "pattern": "^(?s:c.*)$", "permits": true, "rules": [rule("c*#1", "second pattern"), rule("c*#2", "third")]},
		{"name": "x*", "pattern": "^(?s:x.*)$", "permits": true, "rules": [rule("x*#1", "of others")]},
		{"name": "*d", "pattern": "^(?s:.*d)$", "permits": true, "rules": [rule("*d#1", "last pattern")]},
	]})
	every default_word in ["allow", "deny"] {
		by := object.union(known, {"default": default_word})
		decide(question("counted"), by, set()) == denied([
			object.union(violation("hourly"), {"kind": "rate_limit"}),
			violation("second pattern"),
			violation("third"),
			violation("last pattern"),
			violation("for all"),
		])
		decide(question("crowd"), by, {"c*#1", "*d#1"}) == denied([violation("third"), violation("for all")])
		decide(question("crowd"), by, {"c*#1", "c*#2", "*d#1", "*#1"}) == allowed([])
	}
}

test_a_pattern_permits_what_it_matches_when_the_default_is_deny if {
	known := object.union(denying(facts), {"patterns": [
		{"name": "g_?", "pattern": "^(?s:g_.)$", "permits": true, "rules": []},
		{"name": "?*", "pattern": "^(?s:..*)$", "permits": false, "rules": []},
	]})
	decide(question("g_1"), known, {"*#1"}) == allowed([])
	every tool in ["g_", "g_12", "G_1"] {
		decide(question(tool), known, {"*#1"}) == denied([not_permitted(sprintf("\"%s\"", [tool]))])
	}
}

test_an_amount_that_cannot_be_counted_is_refused_whatever_is_proven if {
	every policy in [
		{"passes": {"spent#1", "*#1"}},
		{"passes": {"spent#1", "*#1"}, "amounts": {}},
		{"passes": {"spent#1", "*#1"}, "amounts": {"spent#2": 5}},
		{"passes": {"spent#1", "*#1"}, "amounts": {"spent#1": "5"}},
		{"passes": {"*#1"}, "amounts": {"spent#1": null}},
	] {
		decide_by(question("spent"), facts, policy) == denied([invalid("budget")])
	}
}

test_a_rule_says_its_own_text_where_its_amount_cannot_be_counted if {
	another := object.union(spent, {"id": "t#2", "name": "another", "needs_amount": "say how much"})
	decide_by(question("t"), only([spent, another]), {"passes": {"spent#1", "t#2"}, "amounts": {}}) == denied([
		invalid("budget"),
		object.union(invalid("another"), {"reason": "say how much"}),
	])
}

test_a_rule_that_only_monitors_reports_and_does_not_refuse if {
	watching := only([monitored(rule("t#1", "watch")), rule("t#2", "guard")])
	watched := object.union(violation("watch"), {"monitor": true})
	decide(question("t"), watching, {"t#1", "t#2"}) == allowed([])
	decide(question("t"), watching, {"t#2"}) == reported([watched])
	decide(question("t"), watching, set()) == object.union(
		denied([violation("guard")]),
		{"violations": [watched, violation("guard")]},
	)
	decide(question("t"), watching, {"t#1"}) == denied([violation("guard")])
}

test_a_monitored_rule_without_an_amount_reports_and_takes_nothing if {
	watching := only([monitored(spent), rule("t#2", "guard")])
	decide(question("t"), watching, {"t#2"}) == reported([object.union(invalid("budget"), {"monitor": true})])
	decide(question("t"), watching, set()).violations == [
		object.union(invalid("budget"), {"monitor": true}),
		violation("guard"),
	]
}

test_monitoring_is_no_proof_for_another_rule if {
	watching := only([monitored(rule("t#1", "same")), rule("t#2", "same")])
	decide(question("t"), watching, {"t#1"}) == denied([violation("same")])
}

test_a_rule_in_shadow_reports_as_such_and_does_not_refuse if {
	trying := only([tried(rule("t#1", "try")), rule("t#2", "guard")])
	reported_by_it := object.union(violation("try"), {"monitor": true, "shadow": true})
	decide(question("t"), trying, {"t#1", "t#2"}) == allowed([])
	decide(question("t"), trying, {"t#2"}) == reported([reported_by_it])
	decide(question("t"), trying, set()) == object.union(
		denied([violation("guard")]),
		{"violations": [reported_by_it, violation("guard")]},
	)
}

test_a_rule_in_shadow_reports_that_it_has_no_amount_or_would_ask if {
	without := object.union(invalid("budget"), {"monitor": true, "shadow": true})
	decide(question("t"), only([tried(spent), rule("t#2", "guard")]), {"t#2"}) == reported([without])
	asked := {"rule": "ask", "reason": "no: ask", "kind": "approval_required", "monitor": true, "shadow": true}
	known := only([tried(asking("t#1", "ask", 60))])
	decide_by(question("t"), known, {"passes": {"t#1"}}) == reported([asked])
}

test_a_tool_whose_rules_are_all_in_shadow_is_not_permitted_by_them if {
	known := object.union(only([tried(rule("t#1", "try"))]), {"default": "deny"})
	every shadowed in [["t"], ["u", "t"]] {
		decision := decide(question("t"), object.union(known, {"shadowed": shadowed}), {"t#1"})
		decision.kind == "default_deny"
	}
	decide(question("t"), object.union(known, {"shadowed": ["u"]}), {"t#1"}).action == "allow"
	decide(question("t"), known, {"t#1"}).action == "allow"
}

test_an_approval_is_asked_for_by_the_first_rule_that_asks if {
	known := only([rule("t#1", "guard"), asking("t#2", "one", 60), asking("t#3", "two", 90)])
	proven := {"t#1", "t#2", "t#3"}
	both := object.union(terms(60), {"content": "c60 c90"})
	decide_by(question("t"), known, {"passes": proven}) == asked_for("one", both)
	decide_by(question("t"), known, {"passes": proven, "unasked": {"t#2"}}) == asked_for("two", terms(90))
	decide_by(question("t"), known, {"passes": proven, "unasked": {"t#3"}}) == asked_for("one", terms(60))
	decide_by(question("t"), known, {"passes": proven, "unasked": {"t#2", "t#3"}}) == allowed([])
	decide_by(question("t"), known, {"passes": proven, "unasked": {"*#1", "u#1"}}) == asked_for("one", both)
}

test_of_several_rules_that_ask_the_strictest_terms_hold if {
	one := {"timeout": 90, "use_within": 600, "approvers": 1, "content": "c2"}
	two := {"timeout": 120, "use_within": 60, "approvers": 3, "content": "c1"}
	known := only([object.union(rule("t#1", "one"), {"approval": one}), object.union(rule("t#2", "two"), {"approval": two})])
	strictest := {"timeout": 90, "use_within": 60, "approvers": 3, "content": "c1 c2"}
	decide_by(question("t"), known, {"passes": {"t#1", "t#2"}}) == asked_for("one", strictest)
}

test_a_rule_that_only_monitors_gives_no_terms if {
	known := only([asking("t#1", "one", 90), monitored(asking("t#2", "two", 60))])
	decision := decide_by(question("t"), known, {"passes": {"t#1", "t#2"}})
	decision.approval == object.union(terms(90), {"grant": null})
}

test_rules_that_say_the_same_are_one_content if {
	known := only([asking("t#1", "one", 60), asking("t#2", "two", 60)])
	decide_by(question("t"), known, {"passes": {"t#1", "t#2"}}) == asked_for("one", terms(60))
}

test_more_than_one_call_is_offered_only_by_a_rule_that_asks_alone if {
	grant := {"for": 3600, "calls": 10, "same": [["id"]], "at_most": []}
	granting := object.union(asking("t#1", "one", 60), {"approval": {"grant": grant}})
	known := only([granting, asking("t#2", "two", 90)])
	both := decide_by(question("t"), known, {"passes": {"t#1", "t#2"}})
	both.approval.grant == null
	alone := decide_by(question("t"), known, {"passes": {"t#1", "t#2"}, "unasked": {"t#2"}})
	alone.approval == object.union(terms(60), {"grant": grant})
}

test_a_refusal_beats_a_request_for_approval_wherever_it_stands if {
	every rules in [
		[asking("t#1", "ask", 60), rule("t#2", "guard")],
		[rule("t#2", "guard"), asking("t#1", "ask", 60)],
	] {
		decide_by(question("t"), only(rules), {"passes": {"t#1"}}) == denied([violation("guard")])
	}
}

test_a_request_that_is_not_proven_refuses if {
	known := only([asking("t#1", "ask", 60)])
	decide_by(question("t"), known, {"passes": set()}) == denied([violation("ask")])
}

test_a_request_that_only_monitors_is_reported if {
	known := only([monitored(asking("t#1", "ask", 60))])
	seen := {"rule": "ask", "reason": "no: ask", "kind": "approval_required", "monitor": true}
	decide_by(question("t"), known, {"passes": {"t#1"}}) == reported([seen])
	decide_by(question("t"), known, {"passes": {"t#1"}, "unasked": {"t#1"}}) == allowed([])
}

test_a_call_that_needs_an_approval_says_what_it_takes if {
	asking_and_counting := object.union(counted, {"approval": terms(60)})
	known := only([asking_and_counting])
	decision := decide_by(question("t"), known, {"passes": {"counted#1"}})
	decision.action == "require_approval"
	decision.reserve == [object.union(hourly, {"amount": 1, "rule": "hourly"})]
}

test_a_monitored_request_that_is_not_proven_is_reported_as_a_refusal if {
	known := only([monitored(asking("t#1", "ask", 60))])
	seen := object.union(violation("ask"), {"monitor": true})
	decide_by(question("t"), known, {"passes": set()}) == reported([seen])
}

test_the_engine_says_which_version_it_is if {
	answer := intercept.decision with input as {"version": 1, "method": "intercept/engine"}
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
		with opa.runtime as {"version": "1.2.3", "env": {"SECRET": "x"}}
	answer == {"version": 1, "engine": "1.2.3", "verifies": false, "revision": "r1", "serial": 7}
}

verifying(bundles) := answer.verifies if {
	answer := intercept.decision with input as {"version": 1, "method": "intercept/engine"}
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
		with opa.runtime as {"version": "1.2.3", "config": {"bundles": bundles}}
}

by_our_key := {"keyid": "intercept", "scope": "intercept"}

test_an_engine_verifies_when_each_of_its_bundles_must_be_signed_with_our_key if {
	verifying({"intercept": {"signing": by_our_key}})
	verifying({"intercept": {"signing": by_our_key}, "other": {"signing": by_our_key}})
}

test_an_engine_that_takes_anything_unsigned_does_not_verify if {
	every bundles in [
		{},
		{"intercept": {}},
		{"intercept": {"signing": {}}},
		{"intercept": {"signing": null}},
		{"intercept": {"signing": {"keyid": "another", "scope": "intercept"}}},
		{"intercept": {"signing": object.union(by_our_key, {"exclude_files": ["intercept/facts/data.json"]})}},
		{"intercept": {"signing": object.union(by_our_key, {"allow_unsigned_delta_bundles": true})}},
		{"intercept": {"signing": by_our_key}, "other": {}},
	] {
		not verifying(bundles)
	}
}

test_the_absence_of_a_refusal_is_no_proof if {
	proofs := [
		{"known": facts, "tool": "checked", "proven": {"checked#1", "checked#2", "*#1"}},
		{"known": hiding(facts, ["free"], []), "tool": "free", "proven": {"*#1"}},
		{"known": hiding(facts, [], ["^(?s:.*)$"]), "tool": "free", "proven": {"*#1"}},
		{"known": denying(facts), "tool": "other", "proven": {"*#1"}},
	]
	every proof in proofs {
		decide_without_violations(proof) == undecided
	}
}

decide_without_violations(proof) := decision if {
	decision := intercept.decision with input as question(proof.tool)
		with data.intercept.facts as proof.known
		with data.intercept.policy as {"passes": proof.proven}
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
		with data.intercept.violations as []
}

# The answers to several questions, under these rules proven.
decide_several(questions, proven) := decisions if {
	decisions := intercept.decisions with input as {"questions": questions}
		with data.intercept.facts as facts
		with data.intercept.policy as {"passes": proven}
		with data.intercept.bundle as {"revision": "r1", "serial": 7}
}

test_several_questions_get_the_answers_that_each_gets_alone if {
	proven := {"checked#1", "checked#2", "checked#3", "*#1"}
	questions := {
		"0": question("free"),
		"1": question("other"),
		"2": question("checked"),
		"10": question("counted"),
		"11": {"version": 1, "method": "tools/list", "server": "s", "tools": ["free"]},
	}
	answers := decide_several(questions, proven)
	answers == {position: decide(asked, facts, proven) | some position, asked in questions}
	answers["2"] == allowed([])
}

test_a_question_that_cannot_be_decided_takes_no_other_with_it if {
	answers := decide_several({"0": {}, "1": question("free"), "2": {"version": 2}, "3": "text"}, {"*#1"})
	answers == {"0": undecided, "1": allowed([]), "2": undecided, "3": undecided}
}

test_no_questions_get_no_answers if {
	decide_several({}, {"*#1"}) == {}
	intercept.decisions == {} with input as {}
	intercept.decisions == {} with input as question("free")
}

# The decision by the proof of a whole call, without a look at the rules.
straight(asked, known, policy) := decision if {
	decision := intercept.decision with input as asked
		with data.intercept.facts as known
		with data.intercept.policy as policy
		with data.intercept.bundle as {"revision": "r1", "serial": 7, "allow": allowed([])}
		with data.intercept.worked_out as "worked out"
}

reserving(reserves) := object.union(facts, {"reserves": reserves})

hourly_taken := object.union(hourly, {"amount": 1, "rule": "hourly"})

test_a_call_that_is_proved_has_the_constant_answer if {
	straight(question("checked"), reserving({"tools": {"checked": []}}), {"proved": true}) == allowed([])
}

test_a_call_that_is_proved_takes_what_the_data_say if {
	known := reserving({"tools": {"counted": [hourly_taken]}, "others": []})
	straight(question("counted"), known, {"proved": true}) == allowed([hourly_taken])
}

test_what_a_call_takes_is_worked_out_where_no_data_say_it if {
	known := reserving({"tools": {"checked": []}})
	taken := allowed([object.union(daily, {"amount": 5, "rule": "budget"})])
	straight(question("spent"), known, {"proved": true, "amounts": {"spent#1": 5}}) == taken
	straight(question("counted"), facts, {"proved": true}) == allowed([hourly_taken])
}

test_a_tool_without_rules_of_its_own_is_proved_by_the_proof_of_others if {
	known := reserving({"tools": {}, "others": [hourly_taken]})
	every tool in ["free", "other", ""] {
		straight(question(tool), known, {"others_proved": true}) == allowed([hourly_taken])
	}
	straight(question("free"), denying(known), {"others_proved": true}) == allowed([hourly_taken])
	straight(question("free"), facts, {"others_proved": true}) == allowed([])
}

test_the_proof_of_others_says_nothing_of_a_tool_that_has_rules_or_may_not_be_called if {
	known := reserving({"tools": {}, "others": []})
	policy := {"others_proved": true}
	every proof in [
		{"known": known, "tool": "checked"},
		{"known": known, "tool": "intercept/canary-denied"},
		{"known": known, "tool": "intercept/canary-allowed"},
		{"known": hiding(known, ["free"], []), "tool": "free"},
		{"known": hiding(known, [], ["^(?s:.*)$"]), "tool": "free"},
		{"known": denying(known), "tool": "other"},
		{"known": object.remove(known, ["hide", "default"]), "tool": "other"},
		{"known": {}, "tool": "other"},
	] {
		straight(question(proof.tool), proof.known, policy) == "worked out"
	}
}

test_what_is_not_proved_or_not_true_is_worked_out if {
	known := reserving({"tools": {"checked": [], "free": []}, "others": []})
	every policy in [{}, {"proved": false}, {"others_proved": false}, {"passes": {"checked#1": true}}] {
		straight(question("checked"), known, policy) == "worked out"
		straight(question("free"), known, policy) == "worked out"
	}
}

test_what_is_no_call_is_never_answered_as_one if {
	known := reserving({"tools": {"free": []}, "others": []})
	every change in [
		{"version": 2},
		{"method": "tools/list"},
		{"method": "intercept/engine"},
		{"tool": 5},
		{"arguments": []},
		{"arguments": null},
	] {
		asked := object.union(question("free"), change)
		straight(asked, known, {"proved": true, "others_proved": true}) == "worked out"
	}
}
