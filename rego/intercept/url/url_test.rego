# METADATA
# description: Where URLs lead, and the ones that lead nowhere because some client reads them in another way.
package intercept.url_test

import data.intercept.url

to(host, port, standard) := {"host": host, "port": port, "standard": standard}

test_a_plain_url_leads_to_its_host_and_port if {
	example := to("example.com", 443, true)
	every text in [
		"https://example.com", "https://example.com/", "HTTPS://EXAMPLE.com", "https://example.com:443/a?b#c",
		"https://example.com?a=b", "https://example.com#a", "https://example.com/@a:b@c", "https://example.com?a/@b",
		"https://example.com/%2e%2e/%40", "https://example.com/\u00e9", "https://example.com//evil.test",
		"https://example.com/?u=https://evil.test", "https://example.com/[::1]", "https://example.com/a:80",
	] {
		url.origin(text) == example
	}
}

test_a_port_is_that_of_the_scheme_or_the_one_that_is_written if {
	url.origin("http://a") == to("a", 80, true)
	url.origin("http://a:80") == to("a", 80, true)
	url.origin("http://a:443") == to("a", 443, false)
	url.origin("https://a:80") == to("a", 80, false)
	url.origin("https://a:1") == to("a", 1, false)
	url.origin("https://a:65535") == to("a", 65535, false)
}

test_a_host_is_a_name_or_an_address if {
	every host in [
		"a", "a-b.c", "a--b.c", "_dmarc.a_b.test", "1.2.3.a", "7.test", "0x.test", "xn--mnchen-3ya.de", "1.2.3.4",
		"0.0.0.0", "255.255.255.255", "[::1]", "[2001:db8::1]", "[2001:db8:0:1:1:1:1:1]", "[fe80::1]", "a.0x1g", "a.1a",
	] {
		url.origin(concat("", ["https://", host])).host == host
	}
}

test_an_ipv6_address_is_read_in_its_shortest_form if {
	every host in ["[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[0::0:1]"] {
		url.origin(concat("", ["http://", host, ":8080/"])) == to("[::1]", 8080, false)
	}
	url.origin("http://[2001:DB8::A]").host == "[2001:db8::a]"
}

leads_somewhere(text) if url.origin(text)

test_a_host_that_is_not_plain_leads_nowhere if {
	every host in [
		"", ".", "a.", "a..b", ".a", "-a", "a-", "a.-b", "a-.b", "a%2eb", "%61", "a b", "a,b", "a;b", "a!b", "a*b",
		"\u00e9.test", "ex\u0430mple.com", "example\u3002com", "\uff45xample.com", "a\u00ad", "a\u200b", "xn--example-",
		"127.1", "1", "2130706433", "0x7f000001", "0x7f.1", "0x7F.0.0.0x1", "017700000001", "127.0.0.01", "0127.0.0.1",
		"1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4.", "a.1", "a.0x", "a.0x1f", "a.08",
		"[]", "[", "]", "[::1", "::1", "[::1]a", "a[::1]", "[1.2.3.4]", "[a]", "[v1.a]", "[:::1]", "[1:2:3]", "[::1%25a]",
		"[::1%a]", "[00001::]", "[::ffff:1.2.3.4]", "[::ffff:102:304]", "[0:0:0:0:0:ffff:102:304]", "[::1.2.3.4]", "[::]",
		"[::102:304]", "[64:ff9b::1.2.3.4]", "[64:ff9b::102:304]", "[64:ff9b:1::1]", "[::ffff:0:1.2.3.4]", "[::2]",
		"[::ffff:0:102:304]", "[2002:102:304::]", "[2001:0:102:304::1]", "[2001::1]", "[2001:db8::1.2.3.4]",
	] {
		every rest in ["", "/", ":80", "?a", "#a"] {
			not leads_somewhere(concat("", ["https://", host, rest]))
		}
	}
}

test_what_is_around_the_host_leads_nowhere_unless_it_is_plain if {
	every text in [
		"", "a", "//a", "/a", "ftp://a", "http:/a", "http:a", "http:///a", "https:////a", "http//a", "http:\\\\a",
		"http://", "http:/\\a", "https:/a/b", "ws://a", "file:///a", "javascript://a", "blob:https://a", "view-source:https://a",
		"http\u017f://a", "\u017dttp://a", "http ://a", " http://a", "http://a ", "http:// a", "\thttp://a", "ht\ntp://a",
		"http://a\n", "http://a\r\nHost: b", "http://a/\u0000", "http://a/\u007f", "http://a/\u0085", "http://a/\u009f",
		"http://a/ b", "http://a/\u00a0", "http://a/\u2028", "http://a/\u3000", "\ufeffhttp://a", "http://a\ufeff/",
		"http://a\\b", "http://a/\\b", "http://a/?\\", "http://a#\\", "http://a\\@b", "http://a\\.b",
		"http://u@a", "http://u:p@a", "http://@a", "http://:@a", "http://a@", "http://a:80@b", "http://b%40a", "http://u@@a",
		"http://a?@b", "http://a#@b", "http://a?b@c/d", "http://a:80#@b", "http://a?#@b",
		"http://a:", "http://a:/", "http://a:0", "http://a:00", "http://a:080", "http://a:65536", "http://a:99999",
		"http://a:100000", "http://a:-1", "http://a:+80", "http://a:8a", "http://a: 80", "http://a:80:80", "http://:80",
		"http://a:\u0668\u0660", "http://a:0x50", "http://a:80.", "URL:http://a", "<http://a>", "\"http://a\"",
	] {
		not leads_somewhere(text)
	}
}

test_only_texts_lead_somewhere if {
	every value in [null, true, 5, [], ["https://a"], {}, {"https://a": 1}] {
		not leads_somewhere(value)
	}
}

test_what_is_too_long_leads_nowhere if {
	part := replace(sprintf("%063d", [0]), "0", "a")
	name := concat(".", [part, part, part, replace(sprintf("%061d", [0]), "0", "a")])
	url.origin(concat("", ["https://", name])).host == name
	not leads_somewhere(concat("", ["https://", name, "a"]))
	not leads_somewhere(concat("", ["https://", part, "a"]))
	path := sprintf("https://a/%065526d", [0])
	url.origin(path).host == "a"
	not leads_somewhere(concat("", [path, "0"]))
}

test_an_entry_is_about_a_host_or_all_below_it if {
	named := {"host": "example.com", "below": false, "port": "any"}
	below := {"host": "example.com", "below": true, "port": "any"}
	about([named]) == ["example.com"]
	about([below]) == ["a.example.com", "a.b.example.com"]
	about([named, below]) == ["example.com", "a.example.com", "a.b.example.com"]
	about([]) == []
}

about(hosts) := [host |
	some host in ["example.com", "a.example.com", "a.b.example.com", "aexample.com", "example.com.a", "com", "example"]
	url.is_one_of(to(host, 443, true), hosts)
]

test_an_entry_is_about_one_port_any_or_that_of_the_scheme if {
	opened("default") == ["a standard 80", "a standard 443"]
	opened("any") == ["a standard 80", "a standard 443", "80", "443", "8443"]
	opened(443) == ["a standard 443", "443"]
	opened(8443) == ["8443"]
}

opened(port) := [name |
	some [name, origin] in [
		["a standard 80", to("a", 80, true)], ["a standard 443", to("a", 443, true)],
		["80", to("a", 80, false)], ["443", to("a", 443, false)], ["8443", to("a", 8443, false)],
	]
	url.is_one_of(origin, [{"host": "a", "below": false, "port": port}])
]
