"""Calls put together from what stands at each place."""

from __future__ import annotations

from decimal import Decimal

from sidecar.mcp.strict_json import encode
from sidecar.policy.paths import EACH
from sidecar.rehearsal.diff.places import ABSENT, Odd, Place, Put, arguments, caller, choice, totals, workload


def said(put: Put) -> str:
    return encode(arguments(put)).decode()


def test_values_stand_at_their_paths_and_numbers_are_exact() -> None:
    put = {
        Place("args", ("a", "b")): choice(Decimal("500.000000000000000000001")),
        Place("args", ("a", "c")): choice("x"),
        Place("args", ("d",)): choice(None),
        Place("args", ("e",)): ABSENT,
    }
    assert said(put) == '{"d":null,"a":{"b":500.000000000000000000001,"c":"x"}}'


def test_elements_of_a_list_have_what_each_place_says() -> None:
    put = {
        Place("args", ("orders", EACH, "sz")): choice(Decimal(1), Decimal(9)),
        Place("args", ("orders", EACH, "px")): choice(Decimal(2)),
    }
    assert said(put) == '{"orders":[{"sz":1,"px":2},{"sz":9,"px":2}]}'
    assert said({Place("args", ("ids", EACH)): choice("a", "b")}) == '{"ids":["a","b"]}'
    assert said({Place("args", ("ids", EACH)): choice()}) == '{"ids":[]}'
    assert said({Place("args", ("m", EACH, EACH)): choice(Decimal(1))}) == '{"m":[[1]]}'


def test_a_text_may_stand_where_the_path_leads_on() -> None:
    assert said({Place("args", ("a", "b")): choice(Odd.BLOCKED)}) == '{"a":"text"}'
    blocked = {Place("args", ("a",)): choice("x"), Place("args", ("a", "b")): choice("y")}
    assert said(blocked) == '{"a":"x"}'


def test_who_calls_is_known_as_far_as_something_is_said_of_it() -> None:
    nobody = caller({})
    assert (nobody.principal, nobody.said) == (None, None)
    put = {
        Place("principal", ("claims", "groups")): choice(("a",)),
        Place("session", ("client", "name")): choice("c"),
        Place("workload", ("namespace",)): choice("prod"),
        Place("state", ("state.t.n",)): choice(Decimal(5)),
    }
    known = caller(put)
    assert known.principal is not None
    assert known.principal.claims == {"groups": ["a"]}
    assert known.said is not None
    assert (known.said.name, known.said.version) == ("c", None)
    assert workload(put) == {"namespace": "prod"}
    assert totals(put) == {"state.t.n": Decimal(5)}
