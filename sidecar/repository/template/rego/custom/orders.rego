# METADATA
# title: Rules that YAML cannot say
# description: |
#   What stands here refuses a call (`violations`) or asks a person (`approvals`), beside the rules in `policies`.
#   It can never allow what those refuse.
package intercept.custom

import data.intercept.typed

# METADATA
# description: |
#   Orders above 500 are for traders. Prove what may pass and refuse everything else: `amount > 500` would be silent
#   where the amount is missing, and true of every text.
violations contains {"rule": "large orders by traders", "reason": "Orders above 500 are for traders"} if {
	input.tool == "place_order"
	not small
	not by_trader
}

small if typed.at_most(input.arguments.amount, 500)

by_trader if typed.has(input.principal.claims.groups, "traders")
