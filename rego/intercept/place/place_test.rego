# METADATA
# description: What stands where, for every JSON type at the end of a way and on it.
package intercept.place_test

import data.intercept.place

blocked := {"blocked"}

nothing := set()

test_a_way_of_no_steps_ends_where_it_begins if {
	every value in [null, true, 0, "", [], {}, {"a": 1}, blocked] {
		place.found(0, value, []) == value
	}
}

test_a_way_ends_at_what_is_there_even_if_it_is_null if {
	every value in [null, true, 0, "", [], [1], {}, {"a": 1}] {
		place.found(0, {"a": value}, ["a"]) == value
		place.found(0, {"a": {"b.c": {"": value}}}, ["a", "b.c", ""]) == value
	}
}

test_what_is_not_there_is_marked_as_nothing if {
	every document in [{}, null, {"A": 1}, {"b": 1}] {
		place.found(0, document, ["a"]) == nothing
	}
	every document in [{}, {"a": {}}, {"a": null}, {"a": {"B": 1}}, {"a.b": 1}, {"b": {"a": 1}}] {
		place.found(0, document, ["a", "b"]) == nothing
	}
}

test_a_step_into_what_is_no_object_is_marked_as_blocked if {
	every value in [true, false, 0, 9, "", `{"b":1}`, [], [{"b": 1}], blocked] {
		place.found(0, value, ["b"]) == blocked
		place.found(0, {"a": value}, ["a", "b"]) == blocked
		place.found(0, {"a": value}, ["a", "b", "c"]) == blocked
		place.found(0, {"c": {"a": value}}, ["c", "a", "b"]) == blocked
		place.found(0, {"a": value}, ["a", "0"]) == blocked
	}
}

test_the_elements_of_all_lists_follow_each_other if {
	place.elements([{"a": [1, 2]}, {"a": []}, {"a": [[3], null]}], ["a"]) == [1, 2, [3], null]
	place.elements([[1, 2], [3]], []) == [1, 2, 3]
	place.elements(place.elements([{"a": [{"b": [1]}, {"b": [2, 3]}]}], ["a"]), ["b"]) == [1, 2, 3]
}

test_no_list_has_no_elements_and_what_is_none_is_blocked if {
	place.elements([{}, {"a": null}, null], ["a"]) == []
	every value in [true, 0, "[1]", {}, {"0": 1}] {
		place.elements([{"a": value}], ["a"]) == [blocked]
	}
	place.elements([5, "x"], ["a"]) == [blocked, blocked]
	place.elements([blocked], []) == [blocked]
}

test_ends_are_all_that_is_there_and_every_mark_of_a_blocked_way if {
	place.ends([{"a": 1}, {}, {"a": null}, null, 5, blocked], ["a"]) == [1, null, blocked, blocked]
	place.ends([1, blocked, null], []) == [1, blocked, null]
}

test_listed_is_undefined_unless_there_is_a_list_everywhere if {
	place.listed([{"a": [1]}, {"a": [2]}], ["a"]) == [1, 2]
	every other in [{}, {"a": null}, {"a": 5}, {"a": {}}, 5, null] {
		not listed([{"a": [1]}, other], ["a"])
	}
}

test_values_are_undefined_unless_something_is_there_everywhere if {
	place.values([{"a": 1}, {"a": null}, {"a": []}], ["a"]) == [1, null, []]
	place.values([], ["a"]) == []
	every other in [{}, null, 5, blocked] {
		not values([{"a": 1}, other], ["a"])
	}
}

test_documents_in_which_neither_way_leads_anywhere_are_left_out if {
	place.with_either([{"a": 1, "b": 2}, {}, {"a": 1}, {"b": null}, 5], ["a"], ["b"]) == [
		{"a": 1, "b": 2},
		{"a": 1},
		{"b": null},
		5,
	]
	place.with_either_in([{"a": 1}, {}], ["a"], {"b": 2}, ["b"]) == [{"a": 1}, {}]
	place.with_either_in([{"a": 1}, {}], ["a"], {}, ["b"]) == [{"a": 1}]
	place.each([{"a": 1}, {}, 5], ["a"]) == [1, nothing, blocked]
	place.same([{"a": 1}, {}], {"b": 2}, ["b"]) == [2, 2]
	place.same([{"a": 1}, {}], {}, ["b"]) == [nothing, nothing]
}

test_what_is_given_is_what_is_there_and_undefined_where_a_way_is_blocked if {
	place.given([{"a": 1}, {}, {"a": null}, null, {"a": false}], ["a"]) == [1, false]
	place.given([null], []) == []
	not given([{"a": 5}], ["a", "b"])
	not given([{"a": 1}, "text"], ["a"])
	not given([blocked], [])
}

test_elements_are_given_where_there_is_a_list_or_nothing if {
	place.given_listed([{"a": [1, 2]}, {}, {"a": null}, null, {"a": [3]}], ["a"]) == [1, 2, 3]
	place.given_listed([[1, 2]], []) == [1, 2]
	every value in [true, 0, "[1]", {}] {
		not given_listed([{"a": [1]}, {"a": value}], ["a"])
	}
	not given_listed([{"a": 5}], ["a", "b"])
	not given_listed([blocked], [])
}

# What is undefined, hoisted out of a `not`, would make the whole of it undefined; so each is asked in a function.
listed(documents, way) if is_array(place.listed(documents, way))

values(documents, way) if is_array(place.values(documents, way))

given(documents, way) if is_array(place.given(documents, way))

given_listed(documents, way) if is_array(place.given_listed(documents, way))

test_each_looks_up_a_key_of_objects_as_found_does if {
	documents := [{"a": 1}, {}, {"a": null}, {"a": {"b": 1}}, {"A": 2}]
	every way in [[], ["a"], ["a", "b"]] {
		place.each(documents, way) == [place.found(at, document, way) | some at, document in documents]
		place.each([5, null], way) == [place.found(at, document, way) | some at, document in [5, null]]
	}
}

test_a_list_that_is_absent_beside_a_factor_that_is_there_is_blocked if {
	every document in [{}, {"a": null}, {"a": 5}, null] {
		place.elements_beside([document], ["a"], {"b": 2}, ["b"]) == [blocked]
	}
	every other in [{"b": null}, {"b": 2}, {"b": []}] {
		place.elements_beside([{"a": [1]}, {}], ["a"], other, ["b"]) == [1, blocked]
		place.elements_beside([{"a": []}], ["a"], other, ["b"]) == []
	}
	place.elements_beside([{"a": [1]}, {}, {"a": null}], ["a"], {}, ["b"]) == [1]
	place.elements_beside([{"a": 5}], ["a"], {}, ["b"]) == [blocked]
}
