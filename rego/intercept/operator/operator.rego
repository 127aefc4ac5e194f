# METADATA
# title: The operators of the policy language
# description: |
#   What the conditions of compiled rules are made of. Each is true only when it can be shown to hold: a path that
#   does not exist leaves a function without its argument and so without a result, which is no proof.
#
#   `spellings` is a value as the policy wrote it, then the other ways in which an equal value may be written
#   ([5, "5"]): the compiler adds them, so that here equality is OPA's own, which is exact.
package intercept.operator

# METADATA
# title: eq, in
# description: True when the value equals one of the spellings.
one_of(value, spellings) if value in spellings

# METADATA
# title: neq, not_in
# description: |
#   True when the value is there and equals none of the spellings, neither exactly nor for a server that reads numbers
#   as binary doubles.
none_of(value, spellings) if not read_as_one_of(value, spellings)

# METADATA
# description: |
#   True when the value equals one of the spellings exactly, or does so for a server that reads numbers as binary
#   doubles, also those in lists and objects. The compiler has added to the spellings what such a server reads.
read_as_one_of(value, spellings) if one_of(value, spellings)

read_as_one_of(value, spellings) if {
	is_number(value)
	double(value) in spellings
}

read_as_one_of(value, spellings) if {
	some spelling in spellings
	type_name(spelling) in ["array", "object"]
	type_name(value) == type_name(spelling)
	count(value) == count(spelling)
	with_doubles(value) == with_doubles(spelling)
}

# METADATA
# description: |
#   The binary double nearest to a number, in the fewest digits that say which. OPA computes with more, but its sprintf
#   takes a number with a dot or an exponent for a double; a whole one it prints as it is.
double(number) := to_number(sprintf("%v", [not_whole(number)]))

# METADATA
# description: The same number, with an exponent where it has neither dot nor exponent.
not_whole(number) := number if regex.match(`[.eE]`, json.marshal(number))

not_whole(number) := to_number(concat("", [written, "e0"])) if {
	written := json.marshal(number)
	not regex.match(`[.eE]`, written)
}

# METADATA
# description: A list or an object as the set of what stands where in it, numbers as doubles.
with_doubles(value) := {[path, shape(leaf)] | walk(value, [path, leaf])}

# METADATA
# description: A list or an object as its type, a number as its double, anything else as it is.
shape(leaf) := type_name(leaf) if type_name(leaf) in ["array", "object"]

shape(leaf) := [double(leaf)] if is_number(leaf)

shape(leaf) := [leaf] if type_name(leaf) in ["string", "boolean", "null"]

# METADATA
# title: lt
# description: True for a number below the bound. Other types never are, whatever OPA's order of types says.
below(value, bound) if {
	is_number(value)
	value < bound
}

# METADATA
# title: lte
# description: True for a number that is at most the bound.
at_most(value, bound) if {
	is_number(value)
	value <= bound
}

# METADATA
# title: gt
# description: True for a number above the bound.
above(value, bound) if {
	is_number(value)
	value > bound
}

# METADATA
# title: gte
# description: True for a number that is at least the bound.
at_least(value, bound) if {
	is_number(value)
	value >= bound
}

# METADATA
# title: regex
# description: True for a text in which the pattern (RE2) matches anywhere.
matches(value, pattern) if {
	searchable(value)
	regex.match(pattern, value)
}

# METADATA
# title: not_regex
# description: True for a text in which the pattern matches nowhere.
not_matches(value, pattern) if {
	searchable(value)
	regex.match(pattern, value) == false
}

# METADATA
# description: |
#   True for a text that a pattern is tried on: one of up to 65,536 characters. A pattern may go through a longer one for
#   seconds, and nothing ends that: other calls would wait for it.
searchable(value) if {
	is_string(value)
	count(value) <= 65536
}

# METADATA
# title: contains
# description: True for a text that holds the text looked for, or a list with an element that equals it.
holds(value, spellings) if {
	is_string(value)
	is_string(spellings[0])
	contains(value, spellings[0])
}

holds(value, spellings) if {
	is_array(value)
	some element in value
	one_of(element, spellings)
}

# METADATA
# title: not_contains
# description: |
#   True for a text that does not hold the text looked for, or a list without an element that equals it, neither exactly
#   nor read as a binary double. A text can be searched for a text only.
lacks(value, spellings) if {
	is_string(value)
	is_string(spellings[0])
	contains(value, spellings[0]) == false
}

lacks(value, spellings) if {
	is_array(value)
	every element in value {
		none_of(element, spellings)
	}
}

# METADATA
# title: exists true
# description: True for what is there and not null.
present(value) if value != null

# METADATA
# title: exists false
# description: True when the path leads nowhere in the document, or to null.
absent(document, path) if object.get(document, path, null) == null
