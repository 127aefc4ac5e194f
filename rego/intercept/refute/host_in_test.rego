package intercept.refute_test

import data.intercept.refute

forbidden := [
	{"host": "evil.test", "below": false, "port": "any"},
	{"host": "evil.test", "below": true, "port": "any"},
	{"host": "169.254.169.254", "below": false, "port": "default"},
]

test_host_in_is_refuted_for_a_url_to_another_host_and_for_null if {
	every value in [
		null, "https://example.com", "https://example.com/evil.test", "https://notevil.test", "http://evil.test.example",
		"http://169.254.169.253", "http://169.254.169.254:8080", "http://[2001:db8::1]", "https://example.com?x=evil.test",
	] {
		refute.host_in(0, value, forbidden)
	}
}

test_host_in_is_not_refuted_for_a_listed_host_nor_where_nothing_can_be_said if {
	every value in [
		"https://evil.test", "https://EVIL.test:444/", "http://a.evil.test", "http://169.254.169.254/latest",
		"http://2852039166", "http://0xa9fea9fe", "http://[::ffff:169.254.169.254]", "https://evil.test.",
		"https://example.com@evil.test", "evil.test",
		"//evil.test", "https:evil.test", "https:\\\\evil.test", "ftp://evil.test", "https://ev\u0131l.test", "", "text",
		7, true, [], ["https://example.com"], {}, {"blocked"},
	] {
		not refute.host_in(0, value, forbidden)
	}
}
