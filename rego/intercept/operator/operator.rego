# METADATA
# title: The operators of the policy language
# description: |
#   What the conditions of compiled rules are made of. Each is true only when it can be shown to hold: a path that
#   does not exist leaves a function without its argument and so without a result, which is no proof.
#
#   `spellings` is a value as the policy wrote it, then the other ways in which an equal value may be written
#   ([5, "5"]): the compiler adds them, so that here equality is OPA's own, which is exact. `at` is the position of the
#   value among those that are looked at, 0 for a single one; data.intercept.place says why it comes first.
package intercept.operator

# METADATA
# title: eq, in
# description: True when the value equals one of the spellings.
one_of(_, value, spellings) if value in spellings

# METADATA
# title: neq, not_in
# description: |
#   True when the value is there and equals none of the spellings, neither exactly nor for a server that reads numbers
#   as binary doubles. A mark of what cannot be judged is no value.
none_of(at, value, spellings) if {
	not is_set(value)
	not read_as_one_of(at, value, spellings)
}

# METADATA
# description: |
#   True when the value equals one of the spellings exactly, or does so for a server that reads numbers as binary
#   doubles, also those in lists and objects. The compiler has added to the spellings what such a server reads.
read_as_one_of(_, value, spellings) if value in spellings

read_as_one_of(_, value, spellings) if {
	type_name(value) in ["number", "array", "object"]
	alike_one_of(json.marshal(value), spellings)
}

# METADATA
# description: True when the value that a JSON text says equals one of the spellings once numbers are read as doubles.
alike_one_of(text, spellings) if {
	regex.match(`^[-0-9]`, text)
	double(text) in spellings
}

alike_one_of(text, spellings) if {
	regex.match(`^[\[{]`, text)
	some spelling in spellings
	type_name(spelling) in ["array", "object"]

	# Equal ones have as many commas. What follows takes time that grows with the square of the number of values, so it
	# is for lists and objects that have hardly more than the policy's own.
	wanted := json.marshal(spelling)
	strings.count(text, ",") == strings.count(wanted, ",")
	with_doubles(text) == with_doubles(wanted)
}

# METADATA
# description: |
#   The binary double nearest to a number, in the fewest digits that say which. OPA computes with more, but its sprintf
#   takes a number with a dot or an exponent for a double; a whole one it prints as it is.
double(text) := to_number(sprintf("%v", [to_number(not_whole(text))]))

# METADATA
# description: The same number as text, with an exponent where it has neither dot nor exponent.
not_whole(text) := text if regex.match(`[.eE]`, text)

not_whole(text) := concat("", [text, "e0"]) if not regex.match(`[.eE]`, text)

# METADATA
# description: |
#   A list or an object, which is given as JSON, as sets of what stands where in it, numbers as doubles. It is given so
#   because OPA finds what it remembers of a call by the whole part of a number, also of one in a list.
with_doubles(text) := {"lists and objects": places, "numbers": numbers, "others": others} if {
	value := json.unmarshal(text)
	places := {[path, type_name(inner)] | walk(value, [path, inner]); type_name(inner) in ["array", "object"]}
	numbers := {[path, double(json.marshal(leaf))] | walk(value, [path, leaf]); is_number(leaf)}
	others := {[path, leaf] | walk(value, [path, leaf]); type_name(leaf) in ["string", "boolean", "null"]}
}

# METADATA
# title: lt
# description: True for a number below the bound. Other types never are, whatever OPA's order of types says.
below(_, value, bound) if {
	is_number(value)
	value < bound
}

# METADATA
# title: lte
# description: True for a number that is at most the bound.
at_most(_, value, bound) if {
	is_number(value)
	value <= bound
}

# METADATA
# title: gt
# description: True for a number above the bound.
above(_, value, bound) if {
	is_number(value)
	value > bound
}

# METADATA
# title: gte
# description: True for a number that is at least the bound.
at_least(_, value, bound) if {
	is_number(value)
	value >= bound
}

# METADATA
# title: regex
# description: True for a text in which the pattern (RE2) matches anywhere.
matches(_, value, pattern) if {
	searchable(value)
	regex.match(pattern, value)
}

# METADATA
# title: not_regex
# description: True for a text in which the pattern matches nowhere.
not_matches(_, value, pattern) if {
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
holds(_, value, spellings) if {
	is_string(value)
	is_string(spellings[0])
	contains(value, spellings[0])
}

holds(_, value, spellings) if {
	is_array(value)
	some element in value
	element in spellings
}

# METADATA
# title: not_contains
# description: |
#   True for a text that does not hold the text looked for, or a list without an element that equals it, neither exactly
#   nor read as a binary double. A text can be searched for a text only.
lacks(_, value, spellings) if {
	is_string(value)
	is_string(spellings[0])
	contains(value, spellings[0]) == false
}

lacks(_, value, spellings) if {
	is_array(value)
	every element in value {
		not element in spellings
		not alike_one_of(json.marshal(element), spellings)
	}
}

# METADATA
# title: exists false
# description: True when the path leads nowhere in the document, or to null.
absent(document, path) if object.get(document, path, null) == null
