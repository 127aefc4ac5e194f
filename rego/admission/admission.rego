# METADATA
# title: What is wrong with the policy in a bundle that somebody else built
# description: |
#   Asked before any engine has the bundle, and never in a bundle itself. The modules are only parsed. They have to be
#   the policy's package and to define only what the compiler writes, so that nothing in them takes the place of the
#   library that decides. Where hand-written Rego stands beside them, every proof of a whole call has to need that it is
#   quiet: else a call could pass that it refuses. The facts have to be what the library expects of them.
package admission

# METADATA
# title: faults
# description: |
#   Each fault of a module in input.modules, which maps files to texts, and of input.facts by input.schema;
#   input.custom is true where hand-written Rego stands beside them.
# entrypoint: true
faults contains {"file": file, "fault": sprintf("says package %s", [concat(".", array.slice(path, 1, count(path)))])} if {
	some file, module in modules
	path := [step.value | some step in module["package"].path]
	path != ["data", "intercept", "policy"]
}

faults contains {"file": file, "fault": "imports what is no part of the library"} if {
	some file, module in modules
	some imported in module.imports
	not usual(imported)
}

faults contains {"file": file, "fault": sprintf("defines %s, which no compiler of ours writes", [name])} if {
	some file, module in modules
	some rule in module.rules
	name := rule.head.ref[0].value
	not name in {"amounts", "clear", "met", "others_proved", "passes", "proved", "shows", "unasked"}
}

faults contains {"file": file, "fault": "has a rule with a default or an else, which no compiler of ours writes"} if {
	some file, module in modules
	some rule in module.rules
	some word in ["default", "else"]
	rule[word]
}

faults contains {"file": file, "fault": "proves calls by something else than a plain rule"} if {
	some file, module in modules
	some rule in module.rules
	proves(rule)
	not plain(rule)
}

faults contains {"file": file, "fault": "proves calls whatever the hand-written Rego says of them"} if {
	input.custom
	some file, module in modules
	some rule in module.rules
	proves(rule)
	not needs_quiet(rule)
}

faults contains {"file": facts, "fault": sprintf("is not what the library expects: %s: %s", [error.field, error.desc])} if {
	some error in matched[1]
}

faults contains {"file": facts, "fault": "cannot be compared with what the library expects"} if not matched

facts := "intercept/facts/data.json"

matched := json.match_schema(input.facts, input.schema)

modules[file] := rego.parse_module(file, text) if some file, text in input.modules

usual(imported) if {
	some library in ["exact", "operator", "place", "refute"]
	[step.value | some step in imported.path.value] == ["data", "intercept", library]
	not imported.alias
}

proves(rule) if rule.head.ref[0].value in {"proved", "others_proved"}

# An object or a set counts as true even when nothing is in it.
plain(rule) if {
	count(rule.head.ref) == 1
	not rule.head.key
	not rule.head.args
	rule.head.value == {"type": "boolean", "value": true}
}

needs_quiet(rule) if {
	some expression in rule.body
	[step.value | some step in expression.terms.value] == ["data", "intercept", "quiet"]
	not expression.negated
	not expression["with"]
}
