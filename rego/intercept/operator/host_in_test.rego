package intercept.operator_test

import data.intercept.operator

listed := [
	{"host": "example.com", "below": false, "port": "default"},
	{"host": "example.org", "below": true, "port": "default"},
	{"host": "api.test", "below": false, "port": 8443},
	{"host": "any.test", "below": false, "port": "any"},
	{"host": "127.0.0.1", "below": false, "port": "default"},
	{"host": "[::1]", "below": false, "port": 80},
]

test_host_in_is_true_for_a_url_to_one_of_the_hosts if {
	every text in [
		"https://example.com", "http://EXAMPLE.com:80/", "https://a.b.example.org?x", "https://api.test:8443/x",
		"http://any.test:1", "https://any.test", "http://127.0.0.1/", "http://[::1]/", "https://[0::1]:80",
	] {
		operator.host_in(0, text, listed)
	}
}

test_host_in_is_true_for_nothing_else if {
	every value in array.concat(values, [
		"https://example.org", "https://example.com:8443", "https://api.test", "http://any.test.", "http://[::1]:81",
		"https://[::1]", "https://evil.test/example.com", "https://example.com@evil.test", "https://notexample.com",
		"https://example.com.evil.test", "http://example.com:443", "http://127.1", "example.com", "//example.com",
	]) {
		not operator.host_in(0, value, listed)
	}
}
