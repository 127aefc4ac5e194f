# METADATA
# description: Each rule with a call that it refuses and one that it lets pass.
package intercept.custom_test

import data.intercept.custom

order(amount, groups) := {
	"tool": "place_order",
	"arguments": {"amount": amount},
	"principal": {"claims": {"groups": groups}},
}

refused := {"large orders by traders"}

test_anybody_places_small_orders if {
	custom.violations == set() with input as order(500, [])
}

test_large_orders_are_for_traders if {
	custom.violations == set() with input as order(501, ["staff", "traders"])
	{one.rule | some one in custom.violations} == refused with input as order(501, ["staff"])
}

test_what_is_no_amount_is_refused if {
	{one.rule | some one in custom.violations} == refused with input as order("5", ["staff"])
	{one.rule | some one in custom.violations} == refused with input as {"tool": "place_order", "arguments": {}}
}

test_other_tools_are_left_alone if {
	custom.violations == set() with input as {"tool": "list_orders", "arguments": {}}
}
