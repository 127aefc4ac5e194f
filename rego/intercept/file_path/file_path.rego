# METADATA
# title: Paths of files, read as text
# description: |
#   Where an absolute POSIX path leads when no symbolic link stands on the way: nothing here looks at a disk.
package intercept.file_path

# METADATA
# description: |
#   The path without `.`, `..` and repeated slashes, with one slash at its end: "/srv/data/". Undefined for what is no
#   absolute path: relative ones, text with a backslash or a control character, or with a blank at its end (which some
#   servers take off: "/srv/data/.. ").
resolved(value) := concat("/", array.concat([""], array.concat(kept(value), [""]))) if is_path(value)

# METADATA
# description: |
#   True for a text that is an absolute path: one of up to 4,096 characters, as Linux opens them. What it takes to
#   resolve one grows with the square of the number of its `..`, so they are bounded too.
is_path(value) if {
	is_string(value)
	count(value) <= 4096
	strings.count(value, "/..") <= 256
	regex.match(`^/([^\\\x00-\x1f\x7f-\x9f]*[^\\\x00-\x1f\x7f-\x9f\p{Z}\x{feff}])?$`, value)
}

# METADATA
# description: The steps that lead somewhere, `..` among them.
steps(value) := [step | some step in split(value, "/"); not step in ["", "."]]

# METADATA
# description: |
#   The names in a text that no `..` takes back. A name stays when in no stretch right after it the `..` outnumber the
#   names. For the names between two `..` that is a bound on where they stand: the lowest of the depths after each later
#   `..`. It gets the text, because OPA finds what it remembers of a call by the sum over an array: each order of the
#   same names would be compared with all others.
kept(value) := all if {
	all := steps(value)
	not ".." in all
}

kept(value) := array.concat(early, late) if {
	all := steps(value)
	".." in all
	ups := [at | some at, step in all; step == ".."]
	depths := [depth | some number, at in ups; depth := at - (2 * (number + 1))]
	starts := array.concat([0], [after | some at in ups; after := at + 1])
	early := [name |
		some number, _ in ups
		lowest := min(array.slice(depths, number, count(depths)))
		some name in array.slice(all, starts[number], (lowest + (2 * number)) + 1)
	]
	late := array.slice(all, starts[count(ups)], count(all))
}

# METADATA
# description: True when the path, as `resolved` gives it, is one of the folders or lies below it.
lies_within(path, folders) if {
	some folder in folders
	startswith(path, concat("", [trim_suffix(folder, "/"), "/"]))
}
