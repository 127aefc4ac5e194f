# METADATA
# title: The operators, shown not to hold
# description: |
#   A rule that denies, or asks a person, must not be passed by writing a value in another way. So such a rule counts as
#   not met only where one of its conditions is shown not to hold. Each function here is true only when that is shown. It
#   is of no value that the operator cannot judge, be it of another type or a mark of data.intercept.place. Null is what
#   no operator holds of, but for those that compare with it. `at` is as in data.intercept.operator.
package intercept.refute

import data.intercept.operator

# METADATA
# title: eq, in
# description: True when the value equals none of the spellings, neither exactly nor read as a binary double.
one_of(at, value, spellings) if operator.none_of(at, value, spellings)

# METADATA
# title: neq, not_in
# description: True when the value exactly equals one of the spellings.
none_of(at, value, spellings) if operator.one_of(at, value, spellings)

# METADATA
# title: lt
below(_, value, _) if value == null

below(at, value, bound) if operator.at_least(at, value, bound)

# METADATA
# title: lte
at_most(_, value, _) if value == null

at_most(at, value, bound) if operator.above(at, value, bound)

# METADATA
# title: gt
above(_, value, _) if value == null

above(at, value, bound) if operator.at_most(at, value, bound)

# METADATA
# title: gte
at_least(_, value, _) if value == null

at_least(at, value, bound) if operator.below(at, value, bound)

# METADATA
# title: regex
matches(_, value, _) if value == null

matches(at, value, pattern) if operator.not_matches(at, value, pattern)

# METADATA
# title: not_regex
not_matches(_, value, _) if value == null

not_matches(at, value, pattern) if operator.matches(at, value, pattern)

# METADATA
# title: contains
holds(_, value, _) if value == null

holds(at, value, spellings) if operator.lacks(at, value, spellings)

# METADATA
# title: not_contains
# description: A text can be searched for a text only, and a list for anything.
lacks(_, value, _) if value == null

lacks(_, value, spellings) if {
	is_string(value)
	is_string(spellings[0])
	contains(value, spellings[0])
}

lacks(_, value, spellings) if {
	is_array(value)
	some element in value
	element in spellings
}
