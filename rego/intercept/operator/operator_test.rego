# METADATA
# description: |
#   Every operator with a value of every JSON type, with one that is not there, and with those that only look alike.
#   A row of a table holds what is not part of an answer elsewhere: the values for which the operator is true.
package intercept.operator_test

import data.intercept.operator

# One value or more of each JSON type, among them pairs that some other language takes for equal.
values := [
	null, true, false, 0, -0.0, 1, 1.0, 1.5, 5, -5, 1e6,
	9007199254740992, 9007199254740993, 100, 100.00000000000000001,
	"", "0", "1", "5", "5.0", "true", "null", "abc", "b", "Abc", "e\u0301", "\u00e9",
	[], [1], ["1"], [[1]], [null], ["abc"], ["a", "b"],
	{}, {"a": 1}, {"a": 1.0}, {"a": null}, {"abc": "abc"},
]

one_of(spellings) := [value | some value in values; operator.one_of(0, value, spellings)]

none_of(spellings) := [value | some value in values; operator.none_of(0, value, spellings)]

holds(spellings) := [value | some value in values; operator.holds(0, value, spellings)]

matches(pattern) := [value | some value in values; operator.matches(0, value, pattern)]

test_one_of_is_equality_of_json_values_and_exact if {
	one_of([5, "5"]) == [5, "5"]
	one_of([1, "1"]) == [1, 1.0, "1"]
	one_of([0, "0"]) == [0, -0.0, "0"]
	one_of([true, "true"]) == [true, "true"]
	one_of([false, "false"]) == [false]
	one_of([null]) == [null]
	one_of([""]) == [""]
	one_of(["abc"]) == ["abc"]
	one_of(["\u00e9"]) == ["\u00e9"]
	one_of([9007199254740993]) == [9007199254740993]
	one_of([100.00000000000000001]) == [100.00000000000000001]
	one_of([[1]]) == [[1]]
	one_of([[]]) == [[]]
	one_of([{}]) == [{}]
	one_of([{"a": 1}]) == [{"a": 1}, {"a": 1.0}]
	one_of([{"a": null}]) == [{"a": null}]
	one_of([]) == []
}

test_none_of_is_true_for_every_other_value_that_is_there if {
	none_of([]) == values
	every spellings in [[null], [5, "5"], [true, "true"], ["abc"], [[1]], [{}], values] {
		count(none_of(spellings)) + count(one_of(spellings)) == count(values)
	}
	none_of(values) == []
}

test_nothing_is_shown_of_a_mark if {
	every mark in [set(), {"blocked"}] {
		not operator.none_of(0, mark, [])
		not operator.none_of(0, mark, [5, "5"])
		not operator.none_of(0, mark, [{}, {"a": 1}])
		not operator.one_of(0, mark, values)
		not operator.not_matches(0, mark, "x")
		not operator.lacks(0, mark, ["x"])
	}
}

test_none_of_is_true_only_where_doubles_differ_too if {
	none_of([9007199254740992]) == [value | some value in values; not value in [9007199254740992, 9007199254740993]]
	none_of([100, "100"]) == [value | some value in values; not value in [100, 100.00000000000000001]]
	not operator.none_of(0, 1.00000000000000000001, [1, "1"])
	not operator.none_of(0, 1, [1.00000000000000000001, 1])
	not operator.none_of(0, -1e-400, [0, "0"])
	not operator.none_of(0, 2.4703282292062327e-324, [0])
	not operator.none_of(0, 123456789012345678901234567891, [1.2345678901234568e29])
	not operator.none_of(0, 99999999999999991611392, [1e23])
	operator.none_of(0, 0.30000000000000004, [0.3])
	operator.none_of(0, 9007199254740994, [9007199254740992])
	operator.none_of(0, 5e-324, [0])
	operator.none_of(0, "1.00000000000000000001", [1, "1"])
	operator.none_of(0, true, [1.00000000000000000001])
}

test_none_of_looks_at_the_doubles_in_lists_and_objects if {
	not operator.none_of(0, [1.00000000000000000001], [[1]])
	not operator.none_of(0, {"a": [true, {"b": 0.1}]}, [5, {"a": [true, {"b": 0.10000000000000000001}]}])
	operator.none_of(0, [1.00000000000000000001, 2], [[1]])
	operator.none_of(0, [1, 2], [[2, 1]])
	operator.none_of(0, {"a": 1}, [{"b": 1.0}])
	operator.none_of(0, ["1"], [[1]])
	operator.none_of(0, [[]], [[{}]])
	operator.none_of(0, [[]], [["array"]])
	operator.none_of(0, [["1"]], [[{"number": "1"}]])
	operator.none_of(0, [1], [{"0": 1}])
	operator.none_of(0, [null], [[false]])
}

test_one_of_stays_exact if {
	not operator.one_of(0, 1.00000000000000000001, [1, "1"])
	operator.read_as_one_of(0, 1.00000000000000000001, [1, "1"])
	operator.read_as_one_of(0, "abc", ["abc"])
	not operator.read_as_one_of(0, "abc", ["abd", 5])
}

test_comparisons_are_true_for_numbers_only if {
	[value | some value in values; operator.below(0, value, 1.5)] == [0, -0.0, 1, 1.0, -5]
	[value | some value in values; operator.at_most(0, value, 1.5)] == [0, -0.0, 1, 1.0, 1.5, -5]
	[value | some value in values; operator.above(0, value, 100)] == above_100
	[value | some value in values; operator.at_least(0, value, 100)] == at_least_100
}

above_100 := [1e6, 9007199254740992, 9007199254740993, 100.00000000000000001]

at_least_100 := [1e6, 9007199254740992, 9007199254740993, 100, 100.00000000000000001]

test_comparisons_are_exact if {
	operator.below(0, 9007199254740992, 9007199254740993)
	not operator.below(0, 9007199254740993, 9007199254740993)
	operator.at_most(0, 9007199254740993, 9007199254740993)
	operator.above(0, 100.00000000000000001, 100)
	not operator.at_most(0, 100.00000000000000001, 100)
	operator.at_least(0, 0.30000000000000004, 0.3)
	operator.above(0, 0.30000000000000004, 0.3)
	operator.above(0, 123456789012345678901234567891, 123456789012345678901234567890)
}

test_matches_is_true_for_a_text_in_which_the_pattern_is_found_anywhere if {
	matches("b") == ["abc", "b", "Abc"]
	matches("^abc$") == ["abc"]
	matches("(?i)^ABC$") == ["abc", "Abc"]
	matches("^$") == [""]
	matches("^[0-9.]+$") == ["0", "1", "5", "5.0"]
	matches("") == [value | some value in values; is_string(value)]
	matches("null|true") == ["true", "null"]
}

test_matches_is_true_for_no_text_of_more_than_65536_characters if {
	longest := sprintf("%065536d", [0])
	operator.matches(0, longest, "^0")
	not operator.matches(0, concat("", [longest, "0"]), "^0")
	operator.matches(0, replace(longest, "0", "\u00e9"), "^\u00e9")
}

test_holds_finds_a_text_in_a_text_and_an_element_in_a_list if {
	holds(["b"]) == ["abc", "b", "Abc", ["a", "b"]]
	holds(["abc"]) == ["abc", ["abc"]]
	holds([1, "1"]) == [[1], ["1"]]
	holds(["1", 1]) == ["1", [1], ["1"]]
	holds([null]) == [[null]]
	holds([[1]]) == [[[1]]]
	holds([true, "true"]) == []
	holds([""]) == [value | some value in values; is_string(value)]
}

test_absent_is_true_for_null_only_among_what_is_there if {
	[value | some value in values; operator.absent({"x": value}, ["x"])] == [null]
}

test_absent_is_true_where_a_path_leads_nowhere if {
	operator.absent({}, ["x"])
	operator.absent({"X": 1}, ["x"])
	operator.absent({"x": {}}, ["x", "y"])
	operator.absent({"x": {"y": null}}, ["x", "y"])
	not operator.absent({"x": {"y": false}}, ["x", "y"])
	not operator.absent({"x.y": 1, "x": {"y": 0}}, ["x", "y"])
}

test_absent_steps_into_objects_only if {
	every value in [null, true, 5, "y", [], ["y"], [["y"]]] {
		operator.absent({"x": value}, ["x", "y"])
		operator.absent({"x": value}, ["x", "0"])
	}
	not operator.absent({"x": {"0": 1}}, ["x", "0"])
}

test_what_is_not_there_makes_every_operator_but_absent_undefined if {
	every arguments in [{}, {"y": 1}, {"x": 5}, {"x": "z"}, {"x": ["z"]}, {"x": null}, {"x": {}}, {"x": {"Z": 1}}] {
		true_of(arguments) == {"absent"}
	}
	true_of({"x": {"z": null}}) == {"one_of", "absent"}
	true_of({"x": {"z": 0}}) == {"none_of", "below", "at_most"}
	true_of({"x": {"z": 2}}) == {"none_of", "above", "at_least"}
	true_of({"x": {"z": "w"}}) == {"none_of", "matches", "holds"}
}

# Names of the operators that are true of what stands at x.z. What is not there is no argument, and hoisted out of a
# `not` it would make the whole of it undefined; so each is asked in a function of its own.
true_of(arguments) := {name |
	some name in ["one_of", "none_of", "below", "at_most", "above", "at_least", "matches", "holds", "absent"]
	is_true(name, arguments)
}

is_true("one_of", arguments) if operator.one_of(0, arguments.x.z, [null])

is_true("none_of", arguments) if operator.none_of(0, arguments.x.z, [null])

is_true("below", arguments) if operator.below(0, arguments.x.z, 1)

is_true("at_most", arguments) if operator.at_most(0, arguments.x.z, 1)

is_true("above", arguments) if operator.above(0, arguments.x.z, 1)

is_true("at_least", arguments) if operator.at_least(0, arguments.x.z, 1)

is_true("matches", arguments) if operator.matches(0, arguments.x.z, "")

is_true("holds", arguments) if operator.holds(0, arguments.x.z, [""])

is_true("absent", arguments) if operator.absent(arguments, ["x", "z"])
