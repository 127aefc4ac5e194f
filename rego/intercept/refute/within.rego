package intercept.refute

import data.intercept.file_path

# METADATA
# title: within
# description: True for null, and for an absolute path that lies in none of the folders.
within(_, null, _)

within(_, value, folders) if {
	is_string(value)
	path := file_path.resolved(value)
	not file_path.lies_within(path, folders)
}
