package intercept.refute_test

import data.intercept.refute

test_within_is_refuted_for_a_path_outside_of_every_folder_and_for_null if {
	every value in [null, "/", "/etcetera", "/etc/..", "/ETC", "/tmp/../home", "/roots"] {
		refute.within(0, value, ["/etc", "/root"])
	}
}

test_within_is_not_refuted_inside_nor_where_nothing_can_be_said if {
	every value in [
		"/etc", "/etc/passwd", "/tmp/../etc/x", "//root/.", "etc/passwd", "~root", "", "/tmp\\..\\etc", "/tmp\u0000",
		"/etc ", "/tmp/.. ", 7, true, [], ["/tmp"], {}, {"blocked"},
	] {
		not refute.within(0, value, ["/etc", "/root"])
	}
}
