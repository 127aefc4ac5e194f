# METADATA
# description: The whole mask is compared, so that what a call says and what its caller claims stay out.
package system.log_test

import data.system.log

test_the_decision_log_holds_no_argument_and_no_claim if {
	log.mask == {"/input/arguments", "/input/keys", "/input/principal/claims", "/input/questions"}
}
