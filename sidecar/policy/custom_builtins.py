"""OPA's built-in functions that hand-written Rego may use: what each gives depends on nothing but what it is given.

A list of what is allowed, not of what is forbidden: a later OPA may bring others. Left out are those that reach the
network or the machine, that throw dice, that print, that take keys, and that read languages in which a short text can
stand for a very long one. The one that tells the time is allowed, and its answers are not remembered.
"""

from __future__ import annotations

from typing import Final

CLOCK: Final = "time.now_ns"

BUILTINS: Final = frozenset(
    f"""
    assign eq equal neq lt lte gt gte plus minus mul div rem abs ceil floor round numbers.range numbers.range_step
    and or intersection union internal.member_2 internal.member_3 internal.template_string
    count sum product max min sort walk type_name
    is_array is_boolean is_null is_number is_object is_set is_string to_number
    array.concat array.flatten array.reverse array.slice
    object.filter object.get object.keys object.remove object.subset object.union object.union_n
    json.filter json.is_valid json.marshal json.patch json.remove json.unmarshal
    concat contains endswith startswith format_int indexof indexof_n lower upper replace split sprintf substring
    trim trim_left trim_prefix trim_right trim_space trim_suffix
    strings.any_prefix_match strings.any_suffix_match strings.count strings.replace_n strings.reverse strings.split_n
    glob.match glob.quote_meta regex.is_valid regex.match regex.replace regex.split
    regex.find_all_string_submatch_n regex.find_n
    base64.decode base64.encode base64.is_valid base64url.decode base64url.encode base64url.encode_no_pad
    hex.decode hex.encode urlquery.decode urlquery.decode_object urlquery.encode urlquery.encode_object
    uri.is_valid uri.parse crypto.sha256
    net.cidr_contains net.cidr_contains_matches net.cidr_intersects net.cidr_is_valid net.cidr_merge net.cidr_overlap
    semver.compare semver.is_valid units.parse units.parse_bytes uuid.parse
    bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor graph.reachable graph.reachable_paths
    time.add_date time.clock time.date time.diff time.format time.parse_duration_ns time.parse_ns
    time.parse_rfc3339_ns time.weekday {CLOCK}
    """.split()
)

IN_TESTS: Final = frozenset(
    f"""
    {CLOCK} opa.runtime rand.intn uuid.rfc4122 io.jwt.decode_verify io.jwt.encode_sign io.jwt.encode_sign_raw
    """.split()
)
"""Of the functions whose answers depend on more than what they are given, those that its tests may use; all others are
open to tests anyhow. Left out are those that reach the network, and schemas, which name files and addresses to read."""
