package intercept.operator_test

import data.intercept.operator

test_within_is_true_for_a_path_in_one_of_the_folders if {
	every path in ["/srv/data", "/srv/data/a", "/srv/data/../data/a", "/srv//data/./a", "/tmp"] {
		operator.within(0, path, ["/srv/data", "/tmp"])
	}
}

test_within_is_true_for_nothing_else if {
	near := ["/srv/database", "/srv/data/../x", "/srv/DATA/a", "/srv", "srv/data", "~", "/tmp\n"]
	every value in array.concat(values, near) {
		not operator.within(0, value, ["/srv/data", "/tmp"])
	}
}
