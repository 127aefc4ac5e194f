# METADATA
# title: What stands where in a document
# description: |
#   A way is an array of keys into objects. Two marks stand for what is no JSON value, so that none can be mistaken for
#   them: set() where nothing is there, and {"blocked"} where a step leads into something that is there, is not null, and
#   is no object (or no list, where elements are asked for). A server may know how to read that, so a rule that must not
#   be stepped around cannot judge it.
package intercept.place

# METADATA
# description: What stands at the end of the way, or a mark.
found(document, way) := document if way == []

found(document, way) := {"blocked"} if {
	way != []
	blocked(document, way)
} else := object.get(document, way, set()) if {
	way != []
	is_object(document)
} else := set() if {
	way != []
}

# METADATA
# description: True when a step leads into something that is there, not null, and no object.
blocked(document, _) if not type_name(document) in ["object", "null"]

blocked(document, way) if {
	is_object(document)
	some at, _ in way
	at > 0
	not type_name(object.get(document, array.slice(way, 0, at), null)) in ["object", "null"]
}

# METADATA
# description: |
#   What stands at the end of the way in each of the documents, marks for blocked ways included; nothing for those in
#   which nothing is there.
ends(documents, way) := [value |
	some document in documents
	value := found(document, way)
	value != set()
]

# METADATA
# description: The elements of the lists at the end of the way in all of the documents; a mark for each blocked way.
elements(documents, way) := [element |
	some document in documents
	some element in elements_of(found(document, way))
]

elements_of(value) := value if is_array(value)

elements_of(value) := [] if value in [null, set()]

elements_of(value) := [{"blocked"}] if {
	not is_array(value)
	not value in [null, set()]
}

# METADATA
# description: The elements of the lists in all of the documents; undefined unless there is a list in each.
listed(documents, way) := elements(documents, way) if {
	every document in documents {
		is_array(found(document, way))
	}
}

# METADATA
# description: |
#   Two values for each document, one at the end of each way; nothing where neither is there. The second way begins in
#   the same document.
pairs(documents, way, other_way) := [pair |
	some document in documents
	pair := [found(document, way), found(document, other_way)]
	pair != [set(), set()]
]

# METADATA
# description: As `pairs`, but the second way begins in a document of its own.
pairs_with(documents, way, other, other_way) := [pair |
	some document in documents
	pair := [found(document, way), found(other, other_way)]
	pair != [set(), set()]
]

# METADATA
# description: |
#   The value at the end of the way as an array of one; empty where it is absent or null. Undefined where the way is
#   blocked.
given(document, way) := [value |
	value := found(document, way)
	not value in [null, set()]
] if {
	found(document, way) != {"blocked"}
}

# METADATA
# description: |
#   The elements of the list at the end of the way; none where it is absent or null. Undefined where the way is blocked,
#   or something else than a list is there.
given_elements(document, way) := value if {
	value := found(document, way)
	is_array(value)
}

given_elements(document, way) := [] if found(document, way) in [null, set()]
