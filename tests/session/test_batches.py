"""Messages that travel as one: what goes on, what is answered, and that nothing is told before all is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Joined, Message
from sidecar.session.batches import Joint, Parted


def note(place: int) -> Message:
    return jsonrpc.notification(f"m/{place}")


def whole(*places: int) -> Joined | None:
    return Joined(tuple(map(note, places))) if places else None


def test_what_goes_on_is_one_batch_when_it_is_known_of_all() -> None:
    done: list[Joined | None] = []
    joint = Joint(3, done.append)
    joint.add(note(1))
    joint.add(None)
    assert done == []
    joint.add(note(3))
    assert done == [whole(1, 3)]
    assert done[0] is not None
    assert done[0].raw == b"[%b,%b]" % (note(1).raw, note(3).raw)


def test_where_nothing_goes_on_there_is_no_batch() -> None:
    done: list[Joined | None] = []
    joint = Joint(1, done.append)
    joint.add(None)
    assert done == [None]


FATES = st.lists(st.sampled_from(["onward", "answer", "nothing"]), min_size=1, max_size=6)


@given(fates=FATES, data=st.data())
def test_a_batch_is_parted_once_in_the_order_of_its_messages_whatever_is_known_first(
    fates: list[str], data: st.DataObject
) -> None:
    done: list[tuple[Joined | None, Joined | None]] = []
    parted = Parted(len(fates), lambda onward, answers: done.append((onward, answers)))
    for place in data.draw(st.permutations(range(len(fates)))):
        assert (done, parted.is_whole) == ([], False)
        named = note(place)
        match fates[place]:
            case "onward":
                parted.put(place, onward=named)
            case "answer":
                parted.put(place, answer=named)
            case _:
                parted.put(place)
    onward, answers = ([place for place, fate in enumerate(fates) if fate == way] for way in ("onward", "answer"))
    assert done == [(whole(*onward), whole(*answers))]
    assert parted.is_whole


def test_until_all_is_known_each_may_still_be_decided_otherwise() -> None:
    done: list[tuple[Joined | None, Joined | None]] = []
    parted = Parted(3, lambda onward, answers: done.append((onward, answers)))
    parted.put(0, onward=note(0))
    parted.put(1, onward=note(1))
    parted.put(0)
    parted.put(1, answer=note(1))
    parted.put(2, onward=note(2))
    assert done == [(whole(2), whole(1))]
