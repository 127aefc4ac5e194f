package intercept.refute

import data.intercept.url

# METADATA
# title: host_in
# description: True for null, and for a URL that can be read strictly and leads to none of the hosts.
host_in(_, null, _)

host_in(_, value, hosts) if {
	is_string(value)
	origin := url.origin(value)
	not url.is_one_of(origin, hosts)
}
