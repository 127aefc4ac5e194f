package intercept.refute

import data.intercept.url

# METADATA
# title: host_in
# description: True for null, and for a URL that can be read strictly and leads to none of the hosts.
host_in(null, _)

host_in(value, hosts) if {
	origin := url.origin(value)
	not url.is_one_of(origin, hosts)
}
