# METADATA
# title: Functions for hand-written Rego, against the traps of types
# description: |
#   In OPA every text is greater than every number, so `amount > 100` is true for "5", and a comparison with what is
#   missing says nothing at all. Each of these is true only when it can be shown to hold, for the right type of value.
#   So what they prove is what may pass: give it a name, `small if typed.at_most(input.arguments.amount, 100)`, and
#   refuse what is `not small`.
package intercept.typed

# METADATA
# title: number
# description: The value, if it is a number.
number(value) := value if is_number(value)

# METADATA
# title: text
# description: The value, if it is a text.
text(value) := value if is_string(value)

# METADATA
# title: at_most
# description: True for a number that is at most the bound.
at_most(value, bound) if {
	is_number(value)
	value <= bound
}

# METADATA
# title: at_least
# description: True for a number that is at least the bound.
at_least(value, bound) if {
	is_number(value)
	value >= bound
}

# METADATA
# title: below
# description: True for a number below the bound.
below(value, bound) if {
	is_number(value)
	value < bound
}

# METADATA
# title: above
# description: True for a number above the bound.
above(value, bound) if {
	is_number(value)
	value > bound
}

# METADATA
# title: has
# description: True for a list that has the text as an element, and for the text itself. A part of a text is not enough.
has(value, wanted) if {
	is_array(value)
	is_string(wanted)
	wanted in value
}

has(value, wanted) if {
	is_string(value)
	value == wanted
}

# METADATA
# title: matches
# description: |
#   True for a text of up to 65,536 characters in which the pattern (RE2) matches anywhere. Nothing ends a search in a
#   longer one, which other calls would wait for.
matches(value, pattern) if {
	is_string(value)
	count(value) <= 65536
	regex.match(pattern, value)
}
