package admission_test

import data.admission

found(text) := faults if {
	faults := admission.faults with input as {"modules": {"a.rego": text}, "custom": false, "facts": {}, "schema": {}}
}

beside(text) := faults if {
	faults := admission.faults with input as {"modules": {"a.rego": text}, "custom": true, "facts": {}, "schema": {}}
}

generated := `package intercept.policy

import data.intercept.exact

passes["t/a"] := true

amounts["t/a"] := exact.amount(input.arguments.n)

proved if {
	input.tool == "t"
	passes["t/a"]
	data.intercept.quiet
}
`

test_what_the_compiler_writes_has_no_fault if {
	found(generated) == set()
	beside(generated) == set()
	found("package intercept.policy\n") == set()
}

test_another_package_is_a_fault if {
	some other in ["intercept", "system.authz", "intercept.policy.more", "intercept.custom", "policy"]
	found(concat("", ["package ", other, "\n"])) == {{"file": "a.rego", "fault": concat("", ["says package ", other])}}
}

test_each_fault_is_found[text] if {
	some text, fault in {
		"import data.intercept.facts": "imports what is no part of the library",
		"import data.intercept": "imports what is no part of the library",
		"import rego.v1": "imports what is no part of the library",
		"import input.arguments": "imports what is no part of the library",
		"import data.intercept.exact as place": "imports what is no part of the library",
		"decision := 1": "defines decision, which no compiler of ours writes",
		"policy.proved := true": "defines policy, which no compiler of ours writes",
		"default passes := true": "has a rule with a default or an else, which no compiler of ours writes",
		`passes["a"] if { input.b } else := true`: "has a rule with a default or an else, which no compiler of ours writes",
		`proved["a"] if input.b`: "proves calls by something else than a plain rule",
		"proved contains 1 if input.b": "proves calls by something else than a plain rule",
		"proved := 1 if input.b": "proves calls by something else than a plain rule",
		"proved(a) if a.b": "proves calls by something else than a plain rule",
	}
	found(concat("", ["package intercept.policy\n\n", text, "\n"])) == {{"file": "a.rego", "fault": fault}}
}

test_a_proof_that_passes_hand_written_rego_over_is_a_fault[text] if {
	some text in [
		"proved if input.a",
		"proved if not data.intercept.quiet",
		"proved if data.intercept.quiet == false",
		"proved if data.intercept.quiet with input as {}",
		"proved if data.intercept.policy.quiet",
		"proved := true",
		"others_proved if { input.a; quiet }",
	]
	module := concat("", ["package intercept.policy\n\n", text, "\n"])
	beside(module) == {{"file": "a.rego", "fault": "proves calls whatever the hand-written Rego says of them"}}
	found(module) == set()
}

test_facts_that_the_library_does_not_expect_are_a_fault if {
	schema := {"type": "object", "properties": {"mode": {"type": "string"}}, "additionalProperties": false}
	every facts in [{"mode": 5}, {"mood": "x"}, []] {
		faults := admission.faults with input as {"modules": {}, "custom": false, "facts": facts, "schema": schema}
		count(faults) == 1
		some fault in faults
		startswith(fault.fault, "is not what the library expects: ")
	}
	admission.faults == set() with input as {"modules": {}, "custom": false, "facts": {"mode": "x"}, "schema": schema}
}

test_without_facts_there_is_a_fault if {
	faults := admission.faults with input as {"modules": {}, "custom": false, "schema": {}}
	{fault.fault | some fault in faults} == {"cannot be compared with what the library expects"}
}
