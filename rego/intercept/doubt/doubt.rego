# METADATA
# title: The operators where a rule must not be stepped around
# description: |
#   A condition that decides whether a person is asked must not be passed by writing a value in another way. So these
#   hold when the operator of the same name does (data.intercept.operator), and also when they cannot judge what is
#   there: a value of a type that the operator is not about, or a way that leads into something that is no object,
#   which a server may know how to read (text that holds JSON). What is absent, or null, is no such thing.
#
#   `document` is the arguments, or the counters, and `path` the way into it.
package intercept.doubt

import data.intercept.operator

# METADATA
# title: eq, in
# description: True when the value equals one of the spellings, exactly or read as binary doubles.
one_of(document, path, spellings) if operator.read_as_one_of(found(document, path), spellings)

one_of(document, path, _) if blocked(document, path)

# METADATA
# title: neq, not_in
# description: True when the value is there and does not exactly equal one of the spellings.
none_of(document, path, spellings) if {
	value := found(document, path)
	not operator.one_of(value, spellings)
}

none_of(document, path, _) if blocked(document, path)

# METADATA
# title: lt
below(document, path, bound) if operator.below(found(document, path), bound)

below(document, path, _) if no_number(document, path)

# METADATA
# title: lte
at_most(document, path, bound) if operator.at_most(found(document, path), bound)

at_most(document, path, _) if no_number(document, path)

# METADATA
# title: gt
above(document, path, bound) if operator.above(found(document, path), bound)

above(document, path, _) if no_number(document, path)

# METADATA
# title: gte
at_least(document, path, bound) if operator.at_least(found(document, path), bound)

at_least(document, path, _) if no_number(document, path)

# METADATA
# title: regex
matches(document, path, pattern) if operator.matches(found(document, path), pattern)

matches(document, path, _) if {
	value := found(document, path)
	value != null
	not operator.searchable(value)
}

matches(document, path, _) if blocked(document, path)

# METADATA
# title: contains
# description: A text can be searched for a text only, a list for anything.
holds(document, path, spellings) if operator.holds(found(document, path), spellings)

holds(document, path, spellings) if {
	some element in found(document, path)
	operator.read_as_one_of(element, spellings)
}

holds(document, path, _) if {
	value := found(document, path)
	not type_name(value) in ["string", "array", "null"]
}

holds(document, path, spellings) if {
	is_string(found(document, path))
	not is_string(spellings[0])
}

holds(document, path, _) if blocked(document, path)

# METADATA
# title: exists true
present(document, path) if operator.present(found(document, path))

present(document, path) if blocked(document, path)

# METADATA
# title: exists false
absent(document, path) if operator.absent(document, path)

# METADATA
# description: What stands at the end of the way; undefined when nothing does. No JSON document holds a set.
found(document, path) := value if {
	value := object.get(document, path, set())
	not is_set(value)
}

# METADATA
# description: True when a step leads into something that is there, not null, and no object.
blocked(document, path) if {
	some at, _ in path
	at > 0
	value := object.get(document, array.slice(path, 0, at), null)
	not type_name(value) in ["object", "null"]
}

# METADATA
# description: True when what stands there is neither a number nor null, or something is in the way.
no_number(document, path) if {
	value := found(document, path)
	not type_name(value) in ["number", "null"]
}

no_number(document, path) if blocked(document, path)
