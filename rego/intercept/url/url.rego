# METADATA
# title: URLs, read strictly
# description: |
#   Where a client would connect to, for a URL that every client reads alike. Whatever one of them could read in another
#   way has no origin here: userinfo, backslashes, blanks and control characters (some are taken out before reading),
#   hosts in other scripts or with percent signs, numbers that only some take for an IPv4 address.
package intercept.url

import data.intercept.operator

# METADATA
# description: |
#   Host, port, and whether that is the port of the scheme: {"host": "example.com", "port": 443, "standard": true}.
#   Names are in lower case, IPv6 addresses in brackets and in their shortest form. Undefined for what is no absolute
#   http or https URL, or cannot be read strictly.
origin(value) := {"host": host, "port": port, "standard": port == standard} if {
	operator.searchable(value)
	[[_, scheme, authority, digits, _]] := regex.find_all_string_submatch_n(form, value, 1)
	host := host_of(lower(authority))
	standard := {"http": 80, "https": 443}[lower(scheme)]
	port := port_of(digits, standard)
}

# No letter is matched in any case by a flag: RE2 takes U+017F for an s there. An @ before the first slash makes userinfo
# of all before it for clients that end the authority at a slash only.
form := concat("", [
	`^([Hh][Tt][Tt][Pp][Ss]?)://([0-9A-Za-z._-]+|\[[0-9A-Fa-f:]+\])(?::([1-9][0-9]{0,4}))?`,
	`((?:[?#][^/@\\\x00-\x1f\x7f-\x9f\p{Z}]*)?(?:/[^\\\x00-\x1f\x7f-\x9f\p{Z}]*)?)$`,
])

# METADATA
# description: The port as it is written, else the port of the scheme.
port_of("", standard) := standard

port_of(digits, _) := port if {
	digits != ""
	port := to_number(digits)
	port <= 65535
}

# METADATA
# description: A host in lower case, where it is a name, a plain IPv4 address or an IPv6 address that wraps no IPv4 one.
host_of(host) := host if {
	count(host) <= 253
	regex.match(`^[a-z0-9_]+(-+[a-z0-9_]+)*(\.[a-z0-9_]+(-+[a-z0-9_]+)*)*$`, host)
	not regex.match(`[^.]{64}`, host)
	not regex.match(`(^|\.)([0-9]+|0x[0-9a-f]*)$`, host)
}

host_of(host) := host if {
	regex.match(`^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$`, host)
	every number in split(host, ".") {
		regex.match(`^(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$`, number)
	}
}

host_of(host) := concat("", ["[", shortest, "]"]) if {
	address := trim_suffix(trim_prefix(host, "["), "]")
	address != host
	net.cidr_is_valid(concat("", [address, "/128"]))
	not wraps_ipv4(address)
	some shortest in net.cidr_expand(concat("", [address, "/128"]))
}

# METADATA
# description: |
#   True for an IPv6 address by which an IPv4 one can be reached, as a mapped one, through a translator or in a tunnel.
#   That of this very machine is the only one below ::/96 that is not made of an IPv4 address.
wraps_ipv4(address) if {
	some range in ["::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/32", "2002::/16", "2001::/32"]
	net.cidr_contains(range, address)
	not net.cidr_contains("::1/128", address)
}

# METADATA
# description: True when the origin is one that the list names, each entry with a host, `below` it or itself, and a port.
is_one_of(origin, hosts) if {
	some entry in hosts
	names(entry, origin.host)
	opens(entry.port, origin)
}

# METADATA
# description: True when the entry names the host.
names(entry, host) if {
	not entry.below
	entry.host == host
}

names(entry, host) if {
	entry.below
	endswith(host, concat("", [".", entry.host]))
}

# METADATA
# description: True when an entry with this port is about the port of the origin.
opens("any", _)

opens("default", origin) if origin.standard

opens(port, origin) if port == origin.port
