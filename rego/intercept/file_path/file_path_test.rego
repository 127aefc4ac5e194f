# METADATA
# description: Where paths lead as text, and the texts that are no absolute paths.
package intercept.file_path_test

import data.intercept.file_path

test_a_path_is_resolved_as_text if {
	every text, expected in {
		"/": "/", "//": "/", "/.": "/", "/..": "/", "/../..": "/", "/a": "/a/", "/a/": "/a/", "//a//b//": "/a/b/",
		"/./a/./b/.": "/a/b/", "/a/..": "/", "/a/../b": "/b/", "/../a": "/a/", "/../../a/b/..": "/a/", "/a/../../b": "/b/",
		"/a/b/../..": "/", "/a/b/../../..": "/", "/a/b/../../../c": "/c/", "/a/b/c/../../d/../e/..": "/a/",
		"/a/../b/../c/d/../e": "/c/e/", "/a/b/c/d/../../../e/../f": "/a/f/", "/..a": "/..a/", "/a..": "/a../",
		"/...": "/.../", "/ /.. ./a": "/ /.. ./a/", "/~": "/~/", "/a b/\u00e9": "/a b/\u00e9/", "/%2e%2e/a": "/%2e%2e/a/",
	} {
		file_path.resolved(text) == expected
	}
}

leads_somewhere(value) if file_path.resolved(value)

test_what_is_no_absolute_path_leads_nowhere if {
	every value in [
		"", "a", "./a", "../a", "~", "~/a", "~root/a", " /a", "C:/a", "\\a", "file:///a", "/a\\b", "/a\\..\\b", "/a\u0000",
		"/a\u0000/../b", "/a\nb", "/a\tb", "/a\u001f", "/a\u007f", "/a\u0085b", "/a\u009f", "/a ", "/a/.. ", "/a\u00a0",
		"/a/..\u3000", "/a/..\ufeff", "/a\u2028", "/\n", "/ ", null, true, 5, [], ["/a"], {"/a": "/a"},
	] {
		not leads_somewhere(value)
	}
}

test_a_path_may_have_4096_characters if {
	longest := sprintf("/%04095d", [0])
	file_path.resolved(longest) == concat("", [longest, "/"])
	not leads_somewhere(concat("", [longest, "0"]))
}

test_a_path_may_climb_256_times if {
	down := concat("", ["/a" | some _ in numbers.range(1, 258)])
	deep := concat("", array.concat([down], ["/.." | some _ in numbers.range(1, 256)]))
	file_path.resolved(deep) == "/a/a/"
	not leads_somewhere(concat("", [deep, "/.."]))
}

test_a_folder_holds_itself_and_what_is_below if {
	inside(["/srv/data"]) == ["/srv/data/", "/srv/data/a/", "/srv/data/a/b/"]
	inside(["/srv/data/a", "/tmp"]) == ["/srv/data/a/", "/srv/data/a/b/", "/tmp/"]
	inside(["/"]) == resolved
	inside([]) == []
}

resolved := ["/", "/srv/", "/srv/data/", "/srv/data/a/", "/srv/data/a/b/", "/srv/database/", "/srv/DATA/", "/tmp/"]

inside(folders) := [path | some path in resolved; file_path.lies_within(path, folders)]
