# METADATA
# description: |
#   Every operator of data.intercept.doubt with a value of every JSON type at the end of the way, with one that is not
#   there, and with a way that something is in.
package intercept.doubt_test

import data.intercept.doubt

# One value of each type, and its name in the tables.
values := {
	"null": null,
	"true": true,
	"0": 0,
	"9": 9,
	"text 9": "9",
	"text": "abc",
	"list": [],
	"list of 9": [9],
	"object": {},
	"object of 9": {"n": 9},
}

operands := {
	"one_of": [9, "9"],
	"none_of": [9, "9"],
	"below": 5,
	"at_most": 0,
	"above": 5,
	"at_least": 9,
	"matches": "b",
	"holds": [9, "9"],
	"present": null,
	"absent": null,
}

# What each operator is true of when it stands at the end of the way.
true_of := {
	"one_of": {"9", "text 9"},
	"none_of": {"null", "true", "0", "text", "list", "list of 9", "object", "object of 9"},
	"below": {"true", "0", "text 9", "text", "list", "list of 9", "object", "object of 9"},
	"at_most": {"true", "0", "text 9", "text", "list", "list of 9", "object", "object of 9"},
	"above": {"true", "9", "text 9", "text", "list", "list of 9", "object", "object of 9"},
	"at_least": {"true", "9", "text 9", "text", "list", "list of 9", "object", "object of 9"},
	"matches": {"true", "0", "9", "text", "list", "list of 9", "object", "object of 9"},
	"holds": {"true", "0", "9", "text 9", "text", "list of 9", "object", "object of 9"},
	"present": {"true", "0", "9", "text 9", "text", "list", "list of 9", "object", "object of 9"},
	"absent": {"null"},
}

test_what_cannot_be_judged_holds if {
	every operator, names in true_of {
		{name | some name, value in values; is_true(operator, {"x": value}, ["x"])} == names
		{name | some name, value in values; is_true(operator, {"a": {"b.c": {"": value}}}, ["a", "b.c", ""])} == names
	}
}

test_a_way_that_leads_into_something_that_is_no_object_holds if {
	every operator, _ in operands {
		every value in [true, false, 0, 9, "", `{"x":{"y":9}}`, [], [{"x": 9}]] {
			is_true(operator, {"a": value}, ["a", "x"])
			is_true(operator, {"a": value}, ["a", "x", "y"])
			is_true(operator, {"b": {"a": value}}, ["b", "a", "x"])
			is_true(operator, {"a": value}, ["a", "0"])
		}
	}
}

test_what_is_absent_holds_for_absent_only if {
	every arguments in [{}, {"X": 9}, {"a": {}}, {"a": null}, {"a": {"X": 9}}, {"a.x": 9}, {"x": {"a": 9}}] {
		[operator | some operator, _ in operands; is_true(operator, arguments, ["a", "x"])] == ["absent"]
	}
}

test_numbers_are_read_exactly_or_as_doubles if {
	doubt.one_of({"x": 1.00000000000000000001}, ["x"], [1, "1"])
	doubt.one_of({"x": 9007199254740993}, ["x"], [9007199254740992])
	doubt.one_of({"x": [1.00000000000000000001]}, ["x"], [[1]])
	not doubt.one_of({"x": 1.0000000001}, ["x"], [1])
	doubt.none_of({"x": 1.00000000000000000001}, ["x"], [1, "1"])
	not doubt.none_of({"x": 1.0}, ["x"], [1, "1"])
	doubt.holds({"x": ["a", 1.00000000000000000001]}, ["x"], [1, "1"])
}

test_a_text_is_searched_for_a_text_only if {
	doubt.holds({"x": "abc"}, ["x"], ["b"])
	not doubt.holds({"x": "abc"}, ["x"], ["x"])
	doubt.holds({"x": "[9]"}, ["x"], [true, "true"])
	doubt.holds({"x": "[9]"}, ["x"], [null])
	not doubt.holds({"x": ["abc"]}, ["x"], ["b"])
}

is_true("one_of", arguments, path) if doubt.one_of(arguments, path, operands.one_of)

is_true("none_of", arguments, path) if doubt.none_of(arguments, path, operands.none_of)

is_true("below", arguments, path) if doubt.below(arguments, path, operands.below)

is_true("at_most", arguments, path) if doubt.at_most(arguments, path, operands.at_most)

is_true("above", arguments, path) if doubt.above(arguments, path, operands.above)

is_true("at_least", arguments, path) if doubt.at_least(arguments, path, operands.at_least)

is_true("matches", arguments, path) if doubt.matches(arguments, path, operands.matches)

is_true("holds", arguments, path) if doubt.holds(arguments, path, operands.holds)

is_true("present", arguments, path) if doubt.present(arguments, path)

is_true("absent", arguments, path) if doubt.absent(arguments, path)

test_a_text_that_is_too_long_for_a_pattern_counts_as_matching if {
	longest := sprintf("%065536d", [0])
	not doubt.matches({"x": longest}, ["x"], "1")
	doubt.matches({"x": concat("", [longest, "0"])}, ["x"], "1")
}
