# METADATA
# title: Who may ask this OPA what
# description: |
#   Given to OPA on its command line, never in a bundle, so that no policy can loosen it. Everything that writes is
#   forbidden, and so is every path but the few that the sidecar, the kubelet and Prometheus need.
package system.authz

default allow := false

allow if {
	input.method == "POST"
	input.path in [
		["v1", "data", "intercept", "decision"],
		["v1", "data", "intercept", "decisions"],
	]
}

allow if {
	input.method == "GET"
	input.path in [
		["health"],
		["metrics"],
		["v1", "data", "system", "bundles", "intercept", "manifest"],
	]
}
