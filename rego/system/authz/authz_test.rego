# METADATA
# description: Only the documented questions pass; every other path and every method that writes does not.
package system.authz_test

import data.system.authz

asks(method, path) if authz.allow with input as {"method": method, "path": path}

test_the_question_about_a_call_passes_and_so_do_several if {
	every path in answering {
		asks("POST", path)
	}
}

test_health_metrics_and_the_manifest_can_be_read if {
	every path in readable {
		asks("GET", path)
	}
}

test_no_other_method_passes_on_any_of_these_paths if {
	every path in readable | answering {
		every method in ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "get", "post", "", "POST "] {
			not asks(method, path)
		}
	}
}

test_a_question_is_not_read_and_what_is_read_is_not_posted if {
	every path in answering {
		not asks("GET", path)
	}
	every path in readable {
		not asks("POST", path)
	}
}

test_no_other_path_passes_by_any_method if {
	every path in forbidden {
		every method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
			not asks(method, path)
		}
	}
}

test_a_request_without_method_or_path_does_not_pass if {
	not authz.allow with input as {}
	not authz.allow with input as {"method": "GET"}
	not authz.allow with input as {"path": ["health"]}
	not authz.allow with input as {"method": null, "path": null}
	not asks("POST", "v1/data/intercept/decision")
	not asks("POST", "/v1/data/intercept/decision")
}

test_an_identity_changes_nothing if {
	not authz.allow with input as {"method": "PUT", "path": ["v1", "data"], "identity": "root", "params": {}}
	authz.allow == false with input as {"method": "DELETE", "path": ["v1", "policies", "x"], "identity": "root"}
}

answering := {
	["v1", "data", "intercept", "decision"],
	["v1", "data", "intercept", "decisions"],
}

readable := {
	["health"],
	["metrics"],
	["v1", "data", "system", "bundles", "intercept", "manifest"],
}

forbidden := {
	[],
	[""],
	["v1"],
	["v1", "data"],
	["v1", "data", ""],
	["v1", "data", "intercept"],
	["v1", "data", "intercept", ""],
	["v1", "data", "intercept", "decision", ""],
	["v1", "data", "intercept", "decision", "action"],
	["v1", "data", "intercept", "decision", "decision"],
	["", "v1", "data", "intercept", "decision"],
	["v1", "data", "intercept/decision"],
	["v1", "data", "intercept", "", "decision"],
	["v1", "data", "intercept", ".", "decision"],
	["v1", "data", "intercept", "Decision"],
	["v1", "data", "intercept", "Decisions"],
	["v1", "data", "intercept", "decisions", ""],
	["v1", "data", "intercept", "decisions", "0"],
	["V1", "data", "intercept", "decision"],
	["v1", "data", "intercept", "decision "],
	["v1", "data", "intercept", "facts"],
	["v1", "data", "intercept", "policy", "passes"],
	["v1", "data", "intercept", "custom"],
	["v1", "data", "system", "authz"],
	["v1", "data", "system", "authz", "allow"],
	["v1", "data", "system", "bundles"],
	["v1", "data", "system", "bundles", "intercept"],
	["v1", "data", "system", "bundles", "other", "manifest"],
	["v1", "data", "system", "bundles", "intercept", "manifest", "revision"],
	["v1", "policies"],
	["v1", "policies", "intercept"],
	["v1", "policies", "system/authz"],
	["v1", "query"],
	["v1", "compile"],
	["v1", "compile", "intercept", "decision"],
	["v1", "config"],
	["v1", "status"],
	["v1", "batch", "data", "intercept", "decision"],
	["v0", "data", "intercept", "decision"],
	["v0", "data"],
	["v2", "data", "intercept", "decision"],
	["data", "intercept", "decision"],
	["health", ""],
	["health", "live"],
	["health", "ready"],
	["metrics", ""],
	["debug", "pprof"],
	["debug", "pprof", "heap"],
	["index.html"],
}
