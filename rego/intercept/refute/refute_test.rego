# METADATA
# description: Every operator of data.intercept.refute, with a value of every JSON type and with marks.
package intercept.refute_test

import data.intercept.operator
import data.intercept.refute

# One value of each type, the mark of a blocked way, and their names in the tables.
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
	"blocked": {"blocked"},
}

operands := {
	"one_of": [9, "9"],
	"none_of": [9, "9"],
	"below": 5,
	"at_most": 0,
	"above": 5,
	"at_least": 9,
	"matches": "b",
	"not_matches": "b",
	"holds": [9, "9"],
	"lacks": [9, "9"],
}

# The values of which each operator is shown not to hold.
refuted := {
	"one_of": {"null", "true", "0", "text", "list", "list of 9", "object", "object of 9"},
	"none_of": {"9", "text 9"},
	"below": {"null", "9"},
	"at_most": {"null", "9"},
	"above": {"null", "0"},
	"at_least": {"null", "0"},
	"matches": {"null", "text 9"},
	"not_matches": {"null", "text"},
	"holds": {"null", "list"},
	"lacks": {"null", "list of 9"},
}

test_only_what_is_shown_not_to_hold_is_refuted if {
	every function, names in refuted {
		{name | some name, value in values; is_refuted(function, value)} == names
	}
}

test_nothing_holds_and_is_refuted if {
	every function, _ in refuted {
		{name | some name, value in values; is_refuted(function, value); is_true(function, value)} == set()
	}
}

test_a_text_is_searched_for_a_text_only if {
	refute.holds(0, "abc", ["x"])
	not refute.holds(0, "abc", ["b"])
	not refute.holds(0, "[9]", [true, "true"])
	not refute.holds(0, "[9]", [null])
	refute.holds(0, ["abc"], ["b"])
	refute.lacks(0, "abc", ["b"])
	not refute.lacks(0, "5", [5, "5"])
}

test_numbers_are_read_exactly_or_as_doubles if {
	not refute.one_of(0, 1.00000000000000000001, [1, "1"])
	not refute.one_of(0, 9007199254740993, [9007199254740992])
	not refute.one_of(0, [1.00000000000000000001], [[1]])
	refute.one_of(0, 1.0000000001, [1])
	not refute.none_of(0, 1.00000000000000000001, [1, "1"])
	refute.none_of(0, 1.0, [1, "1"])
	not refute.holds(0, ["a", 1.00000000000000000001], [1, "1"])
	not refute.lacks(0, ["a", 1.00000000000000000001], [1, "1"])
}

test_nothing_is_shown_of_a_text_that_is_too_long_for_a_pattern if {
	longest := sprintf("%065536d", [0])
	refute.matches(0, longest, "1")
	not refute.matches(0, concat("", [longest, "0"]), "1")
	refute.not_matches(0, longest, "0")
	not refute.not_matches(0, concat("", [longest, "0"]), "0")
}

is_refuted("one_of", value) if refute.one_of(0, value, operands.one_of)

is_refuted("none_of", value) if refute.none_of(0, value, operands.none_of)

is_refuted("below", value) if refute.below(0, value, operands.below)

is_refuted("at_most", value) if refute.at_most(0, value, operands.at_most)

is_refuted("above", value) if refute.above(0, value, operands.above)

is_refuted("at_least", value) if refute.at_least(0, value, operands.at_least)

is_refuted("matches", value) if refute.matches(0, value, operands.matches)

is_refuted("not_matches", value) if refute.not_matches(0, value, operands.not_matches)

is_refuted("holds", value) if refute.holds(0, value, operands.holds)

is_refuted("lacks", value) if refute.lacks(0, value, operands.lacks)

is_true("one_of", value) if operator.one_of(0, value, operands.one_of)

is_true("none_of", value) if operator.none_of(0, value, operands.none_of)

is_true("below", value) if operator.below(0, value, operands.below)

is_true("at_most", value) if operator.at_most(0, value, operands.at_most)

is_true("above", value) if operator.above(0, value, operands.above)

is_true("at_least", value) if operator.at_least(0, value, operands.at_least)

is_true("matches", value) if operator.matches(0, value, operands.matches)

is_true("not_matches", value) if operator.not_matches(0, value, operands.not_matches)

is_true("holds", value) if operator.holds(0, value, operands.holds)

is_true("lacks", value) if operator.lacks(0, value, operands.lacks)
