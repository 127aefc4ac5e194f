package intercept.operator

import data.intercept.file_path

# METADATA
# title: within
# description: |
#   True for a text that is an absolute path and, resolved as text, one of the folders or below it. The folders are
#   absolute paths in normal form. No function without a position is called with a number (data.intercept.place).
within(_, value, folders) if {
	is_string(value)
	file_path.lies_within(file_path.resolved(value), folders)
}
