# METADATA
# description: Every function, with values of every type, and with none.
package intercept.typed_test

import data.intercept.typed

others := [null, true, false, "", "5", "abc", [], [5], {}, {"n": 5}]

test_a_number_is_one_and_nothing_else_is if {
	typed.number(5) == 5
	typed.number(0) == 0
	{other | some other in others; typed.number(other)} == set()
}

test_a_text_is_one_and_nothing_else_is if {
	typed.text("") == ""
	{other | some other in [null, true, 5, [], ["a"], {}]; typed.text(other)} == set()
}

test_numbers_are_compared if {
	{value | some value in [4, 5, 5.0, 6]; typed.at_most(value, 5)} == {4, 5}
	{value | some value in [4, 5, 6]; typed.at_least(value, 5)} == {5, 6}
	{value | some value in [4, 5, 6]; typed.below(value, 5)} == {4}
	{value | some value in [4, 5, 6]; typed.above(value, 5)} == {6}
}

test_nothing_else_is_compared if {
	every other in others {
		not typed.at_most(other, 5)
		not typed.at_least(other, 5)
		not typed.below(other, 5)
		not typed.above(other, 5)
	}
}

test_what_is_missing_is_shown_to_be_nothing if {
	not small
	not large
	not one_of_ours
}

small if typed.at_most(input.arguments.n, 5)

large if typed.above(input.arguments.n, 5)

one_of_ours if typed.has(input.arguments.groups, "ops")

test_a_list_has_its_elements_and_a_text_is_itself if {
	typed.has(["a", "ops"], "ops")
	typed.has("ops", "ops")
	every other in [["op"], ["opsx"], [["ops"]], [], {"ops": 1}, "oops", "ops,dev", "", null, 5, true] {
		not typed.has(other, "ops")
	}
	not typed.has([5], 5)
}

test_a_pattern_is_tried_on_texts_of_some_length_only if {
	typed.matches("abc", "b")
	not typed.matches("abc", "^b")
	not typed.matches(5, "5")
	not typed.matches(["b"], "b")
	not typed.matches(concat("", ["x" | some _ in numbers.range(1, 65537)]), "x")
}
