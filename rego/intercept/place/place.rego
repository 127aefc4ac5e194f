# METADATA
# title: What stands where in a document
# description: |
#   A way is an array of keys into objects. Two marks stand for what is no JSON value, so that none can be mistaken for
#   them: set() where nothing is there, and {"blocked"} where a step leads into something that is there, is not null, and
#   is no object (or no list, where elements are asked for). A server may know how to read that, so a rule that must not
#   be stepped around cannot judge it.
#
#   Lists of values may be long, and OPA remembers each call of a function by its arguments: it finds a number by its
#   whole part, so a thousand fractions would each be compared with all before it. Whatever is called for each element
#   therefore gets the position first, here and in the packages of the operators.
package intercept.place

# METADATA
# description: What stands at the end of the way, or a mark; `at` is the position of the document.
found(_, document, way) := document if way == []

found(at, document, way) := {"blocked"} if {
	way != []
	blocked(at, document, way)
} else := object.get(document, way, set()) if {
	way != []
	is_object(document)
} else := set() if {
	way != []
}

# METADATA
# description: True when a step leads into something that is there, not null, and no object.
blocked(_, document, _) if not type_name(document) in ["object", "null"]

blocked(_, document, way) if {
	is_object(document)
	some at, _ in way
	at > 0
	not type_name(object.get(document, array.slice(way, 0, at), null)) in ["object", "null"]
}

# METADATA
# description: |
#   What stands at the end of the way in each of the documents, or a mark. Where all are objects and the way is one key,
#   nothing can block it, and looking up the key is all that `found` does.
each(documents, way) := documents if {
	way == []
} else := [object.get(document, way, set()) | some document in documents] if {
	count(way) == 1
	every document in documents {
		is_object(document)
	}
} else := [found(at, document, way) | some at, document in documents]

# METADATA
# description: What stands at the end of the way in each of the documents; undefined where in one nothing can be found.
values(documents, way) := there if {
	there := each(documents, way)
	every value in there {
		not is_set(value)
	}
}

# METADATA
# description: |
#   What stands at the end of the way in each of the documents, marks for blocked ways included; nothing for those in
#   which nothing is there.
ends(documents, way) := [value |
	some value in each(documents, way)
	value != set()
]

# METADATA
# description: |
#   What stands at the end of the way in each of the documents; nothing for those in which it is absent or null. Undefined
#   where a way is blocked.
given(documents, way) := [value | some value in there; not value in [null, set()]] if {
	there := each(documents, way)
	every value in there {
		value != {"blocked"}
	}
}

# METADATA
# description: The elements of the lists at the end of the way in all of the documents; a mark for each that is blocked.
elements(documents, way) := [element |
	some at, value in each(documents, way)
	some element in elements_of(at, value)
]

elements_of(_, value) := value if is_array(value)

elements_of(_, value) := [] if value in [null, set()]

elements_of(_, value) := [{"blocked"}] if {
	not is_array(value)
	not value in [null, set()]
}

# METADATA
# description: |
#   As `elements`, for a product with a factor outside of the lists. Where that factor is there, a list that is absent or
#   null is blocked too: one factor alone is no product.
elements_beside(documents, way, other, other_way) := elements(documents, way) if found(0, other, other_way) == set()

elements_beside(documents, way, other, other_way) := [element |
	some at, value in each(documents, way)
	some element in elements_or_mark(at, value)
] if {
	found(0, other, other_way) != set()
}

elements_or_mark(_, value) := value if is_array(value)

elements_or_mark(_, value) := [{"blocked"}] if not is_array(value)

# METADATA
# description: The elements of the lists in all of the documents; undefined unless there is a list in each.
listed(documents, way) := [element | some value in there; some element in value] if {
	there := each(documents, way)
	every value in there {
		is_array(value)
	}
}

# METADATA
# description: |
#   The elements of the lists in all of the documents; none where a list is absent or null. Undefined where a way is
#   blocked, or something else than a list is there.
given_listed(documents, way) := [element | some value in there; is_array(value); some element in value] if {
	there := each(documents, way)
	every value in there {
		type_name(value) in ["array", "null", "set"]
		value != {"blocked"}
	}
}

# METADATA
# description: The documents in which at least one of the two ways does not lead nowhere.
with_either(documents, way, other_way) := [document |
	some at, document in documents
	[found(at, document, way), found(at, document, other_way)] != [set(), set()]
]

# METADATA
# description: As `with_either`; the second way begins in a document of its own, and what is there goes with each.
with_either_in(documents, _, other, other_way) := documents if found(0, other, other_way) != set()

with_either_in(documents, way, other, other_way) := [document |
	some at, document in documents
	found(at, document, way) != set()
] if {
	found(0, other, other_way) == set()
}

# METADATA
# description: The same value, or mark, for each of the documents.
same(documents, other, way) := [value | some _ in documents] if value := found(0, other, way)
