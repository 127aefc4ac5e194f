package intercept.operator

import data.intercept.url

# METADATA
# title: host_in
# description: |
#   True for a text that is an http or https URL, read strictly, to one of the hosts. Each of them is compiled:
#   {"host": "example.com", "below": false, "port": "default"}, where the port may be "any" or a number, and `below`
#   stands for every name below the host and not the host itself.
host_in(_, value, hosts) if {
	is_string(value)
	url.is_one_of(url.origin(value), hosts)
}
