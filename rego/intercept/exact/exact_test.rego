# METADATA
# description: |
#   Decimals, products and sums at their edges. Numbers are random, and checked with another arithmetic, in
#   tests/policy/test_exact.py. What is undefined is no argument, so it is asked for in a function or a comprehension.
package intercept.exact_test

import data.intercept.exact

test_an_amount_is_a_number_that_can_be_counted_exactly if {
	good := [
		0, -0, 0.0, 0e9, 1, 1.10, 100.00000000000000001, 1e-30, 9.999e30, 9999999999999999999999999999999,
		1234567890123456789012345678901, 0.000000000000000000000000000001, 1.5E3, 1e+5,
		1.234567890123456789012345678901234, 1.2345678901234567890123456789012340000, 10000000000000000000000000000000e-1,
	]
	every value in good {
		exact.amount(value) == value
	}
}

test_what_cannot_be_counted_is_no_amount if {
	bad := [
		null, true, "5", "", [], [5], {}, {"a": 5}, -1, -1e-30, -0.5, 1e31, 1e350, 1e-31, 9.9e-31,
		10000000000000000000000000000000, 1.2345678901234567890123456789012345, 12345678901234567890.123456789012345,
	]
	every value in bad {
		not is_amount(value)
	}
}

is_amount(value) if is_number(exact.amount(value))

decimals(values) := [number | some value in values; number := exact.decimal(value)]

products(pairs) := [number | some pair in pairs; number := exact.product(pair[0], pair[1])]

counted_products(pairs) := [number | some pair in pairs; number := exact.counted_product(pair[0], pair[1])]

totals(lists) := [number | some list in lists; number := exact.total(list)]

test_a_plain_decimal_is_the_number_that_it_says if {
	decimals(["5", "5.0", "-1.50", "0.1", "0", "-0", "-0.0", "100"]) == [5, 5, -1.5, 0.1, 0, 0, 0, 100]
	decimals(["100.00000000000000001", "9007199254740993"]) == [100.00000000000000001, 9007199254740993]
	decimals(["1.2345678901234567890123456789012340000"]) == [1.234567890123456789012345678901234]
	longest := concat("", ["0.", sprintf("%0397d", [0]), "1"])
	decimals([longest]) == [1e-398]
}

test_every_other_text_says_no_number if {
	decimals([
		"", " ", "05", "-05", "00", ".5", "5.", "+5", "--5", "-", "1e3", "1E3", "0x10", "1_000", "1,000", "1.5.0",
		" 5", "5 ", "5\n", "\n5", "NaN", "Infinity", "true", "null", "abc", "\u0665", "5\u0000", "\"5\"", "[5]",
	]) == []
	decimals(["1.2345678901234567890123456789012345", "12345678901234567890123456789012345"]) == []
	decimals([concat("", ["1.", sprintf("%0399d", [0])]), concat("", ["1", sprintf("%0308d", [0])])]) == []
}

test_what_is_no_text_stays_what_it_is if {
	values := [null, true, false, 5, -1.5, 1e400, [], ["5"], [[1.0]], {}, {"a": "5"}]
	decimals(values) == values
}

test_decimals_are_exact_where_doubles_are_not if {
	exact.decimal("1.000000000000000000010") > exact.decimal("1.0000000000000000000")
	exact.decimal("0.30000000000000000") < 0.30000000000000000010
	exact.decimal("-0.10") in [-0.1]
}

test_a_product_is_exact if {
	products([[2, 500], [0.1, 3], [1.10, 1.10], [1e3, 1E+5], [-1.5, 0.20]]) == [1000, 0.3, 1.21, 1e8, -0.3]
	products([[-2, -3], [12.50, 8], [1E-0003, 7], [1.5e-3, 2E+3]]) == [6, 100, 0.007, 3]
	products([[2, 500.0000000000000000001]]) == [1000.0000000000000000002]
	products([[123456789.12345678, 987654321.87654321]]) == [121932631342783101.4583142722374638]
	products([[0.3, 3333.33333333333333333334]]) == [1000.000000000000000000002]
	products([[99999999999999999, 99999999999999999]]) == [9999999999999999800000000000000001]
	products([[1e-300, 1e300], [1e-300, 1e-300], [1e400, 1e-399]]) == [1, 1e-600, 10]
}

test_a_product_of_zero_is_zero if {
	products([[0, 5], [-0, 5], [5, 0.000], [0e9, -1e300], [-0.0, 0]]) == [0, 0, 0, 0, 0]
}

test_a_product_of_more_than_34_digits_is_undefined if {
	products([[9999999999999999999999999999999999, 1]]) == [9999999999999999999999999999999999]
	products([[9999999999999999999999999999999999, 9]]) == []
	products([[9999999999999999999999999999999999, 10], [5e33, 20e-34]]) == [99999999999999999999999999999999990, 10]
	products([[1.2345678901234567891, 1234567890123456789]]) == []
	products([[12345678901234567890123456789012345, 1], [-0.12345678901234567890123456789012345, 1e5]]) == []
	products([[12345678901234567890123456789012345, 2], [12345678901234567890123456789012345, 0]]) == [
		24691357802469135780246913578024690,
		0,
	]
}

test_a_product_that_no_double_comes_near_to_is_undefined if {
	products([[1e300, 1e7], [9e300, 1e8], [1e300, 1e8], [-1e300, 1e300]]) == [1e307]
}

test_what_is_no_number_has_no_product if {
	others := [null, true, false, "", "5", [], [5], {}, {"a": 5}]
	products([pair | some other in others; some pair in [[other, 5], [5, other], [other, other]]]) == []
}

test_a_counted_product_is_one_of_factors_that_are_not_negative if {
	counted_products([[2, 500.5], [0, 5], [0.5, 1e-29], [1e-40, 1e40]]) == [1001, 0, 5e-30, 1]
	counted_products([[-2, -3], [-2, 3], [2, -3], [0, -1], [-1, 0]]) == []
	counted_products([[1e20, 1e11], [1e-20, 1e-11], ["5", 1], [1, null], [[], {}]]) == []
}

test_a_total_is_exact if {
	totals([[], [0], [5], [1, 2, 3], [0.1, 0.2], [100.00, 0.05]]) == [0, 0, 5, 6, 0.3, 100.05]
	totals([[1e3, 2], [1E-3, 2.50], [1e-30, 2e-30], [-0, 1]]) == [1002, 2.501, 3e-30, 1]
	totals([[999999999999999.999999999999999, 0.000000000000001]]) == [1000000000000000]
	totals([[1.234567890123456789012345678901234e-30, 1e-30]]) == [2.234567890123456789012345678901234e-30]
	totals([[1234567890123456789012345678901, 1]]) == [1234567890123456789012345678902]
	totals([[number | some number in numbers.range(1, 1000)]]) == [500500]
	totals([[0.1 | some _ in numbers.range(1, 1000)], [1e-1 | some _ in numbers.range(1, 1000)]]) == [100, 100]
}

test_a_total_is_exact_at_the_edges_of_what_is_known_by_its_text if {
	totals([[99999999999999.99999999999999999999, 0.00000000000000000001]]) == [100000000000000]
	totals([[1234567890.000000000000000000001, 1]]) == [1234567891.000000000000000000001]
	totals([[1234567890.0000000000000000000001, 1]]) == [1234567891.0000000000000000000001]
	totals([[123456789012345.1234567890123456789, 1]]) == [123456789012346.1234567890123456789]
	totals([[123456789012345.12345678901234567891, 0.00000000000000000009]]) == []
}

test_what_holds_no_amount_has_no_total if {
	elements := [null, true, "5", "", [], [5], {}, -1, -0.5, -1e-30, 1e31, 1e-31, 1.2345678901234567890123456789012345]
	totals([list | some element in elements; some list in [[element], [1, element], [element, 1e1]]]) == []
	totals([null, true, 5, "", "[5]", {}, {"a": 5}, {5}]) == []
}

test_a_total_is_an_amount if {
	totals([[9e30, 9e29], [9e30, 1e30], [1e30, 1e-30]]) == [9.9e30]
	totals([[9.999999999999999999999999999999, 0.000000000000000000000000000001]]) == [10]
	totals([[9999999.999999999999999999999999999, 1000000]]) == []
	totals([[9999999.999999999999999999999999999, 1000000, 0.000000000000000000000000001]]) == [11000000]
}

# What says no number, or has no product, leaves its place to what no JSON holds.
test_a_list_of_decimals_keeps_every_place if {
	exact.decimals([]) == []
	exact.decimals(["5"]) == [5]
	exact.decimals(["0.10", "-2", "7.00000000"]) == [0.1, -2, 7]
	exact.decimals(["5", 6, "x", null, ["5"], "1234567890.123456789"]) == [
		5, 6, {"blocked"}, null, ["5"], 1234567890.123456789,
	]
	exact.decimals(["5,6"]) == [{"blocked"}]
	exact.decimals([`5","6`]) == [{"blocked"}]
	exact.decimals(["5]"]) == [{"blocked"}]
	exact.decimals([""]) == [{"blocked"}]
	exact.decimals(["01", "1e3", "5."]) == [{"blocked"}, {"blocked"}, {"blocked"}]
	exact.decimals([{"5"}]) == [{"5"}]
	[found | some value in [null, true, 5, "5", {"a": "5"}, {"5"}]; found := exact.decimals(value)] == []
}

test_a_list_of_products_keeps_every_place if {
	exact.products([], []) == []
	exact.products([2, 0.1, -3], [500, 3, 0.5]) == [1000, 0.3, -1.5]
	exact.products([2, 0.1, -3], [500.0000000000000000001, 3, 1e2]) == [1000.0000000000000000002, 0.3, -300]
	exact.products([2, "2", {"blocked"}, 1.2345678901234567891], [5, 5, 5, 1234567890123456789]) == [
		10, {"blocked"}, {"blocked"}, {"blocked"},
	]
	exact.products([5, 5], [[5], null]) == [{"blocked"}, {"blocked"}]
	uneven := [[[1], []], [[1], [1, 2]], [[1], 5], [5, [1]], [null, null], [{"a": 1}, {"a": 1}]]
	[found | some lists in uneven; found := exact.products(lists[0], lists[1])] == []
}

totals_of_products(pairs) := [number | some pair in pairs; number := exact.total_of_products(pair[0], pair[1])]

test_a_total_of_products_is_exact if {
	totals_of_products([[[], []], [[1, 2], [50, 20.5]], [[0.1, 0.2], [0.3, 0.4]]]) == [0, 91, 0.11]
	totals_of_products([[[1e0, 2], [50, 20.5]], [[0.1, 0.2], [0.3, 0.4000000000]]]) == [91, 0.11]
	totals_of_products([[[999999999.99999999], [999999999.99999999]]]) == [999999999999999980.0000000000000001]
	totals_of_products([[[0.000000001], [0.00000000001]]]) == [1e-20]
}

test_a_total_of_products_has_counted_products_only if {
	totals_of_products([[[1, -1], [50, 20]], [[1, 1], [50, -20]], [[-1], [-1]], [[-1e0], [-1e0]], [[0], [-1]]]) == []
	totals_of_products([[[1, "1"], [50, 20]], [[1, 1], [50, null]], [[1, {"blocked"}], [1, 1]]]) == []
	totals_of_products([[[1e20, 1], [1e11, 1]], [[1e-20], [1e-11]], [[1.2345678901234567891], [1234567890123456789]]]) == []
	totals_of_products([[[1], []], [[1], [1, 2]], [[1], 5], [5, [1]], [null, null], [{"a": 1}, {"a": 1}], ["5", "5"]]) == []
}
