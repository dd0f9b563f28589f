"""Execution ids: 63 bits, ascending, unique over threads and nodes, whatever the clock does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.store.ids import NODES, ExecutionIds, first_id_at, made_at
from tests.services.clock import START, FakeClock

NODE_BITS, SEQUENCE_BITS = 9, 12
MILLISECOND = timedelta(milliseconds=1)


def parts(number: int) -> tuple[int, int, int]:
    """Milliseconds, node and sequence."""
    return (
        number >> (NODE_BITS + SEQUENCE_BITS),
        number >> SEQUENCE_BITS & ((1 << NODE_BITS) - 1),
        number & ((1 << SEQUENCE_BITS) - 1),
    )


@pytest.mark.parametrize("node", [0, 1, 255, NODES - 1])
def test_an_id_holds_its_time_its_node_and_a_sequence(node: int) -> None:
    since_1970 = (START - datetime(1970, 1, 1, tzinfo=UTC)) // MILLISECOND
    ids = ExecutionIds(node, FakeClock()).take(3)
    assert [parts(number) for number in ids] == [(since_1970, node, sequence) for sequence in range(3)]
    assert {made_at(number) for number in ids} == {START}


@pytest.mark.parametrize("node", [-1, NODES, 10_000])
def test_a_node_number_that_does_not_fit_is_refused(node: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 511"):
        ExecutionIds(node, FakeClock())


@pytest.mark.parametrize(
    ("moment", "fits"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), True),
        (datetime(2109, 5, 15, 7, 35, 11, 103_000, tzinfo=UTC), True),
        (datetime(2109, 5, 15, 7, 35, 11, 104_000, tzinfo=UTC), False),
    ],
)
def test_ids_fit_into_63_bits_until_2109(moment: datetime, fits: bool) -> None:
    number = ExecutionIds(NODES - 1, FakeClock(moment)).take(4096)[-1]
    assert (number < 2**63) is fits
    assert number >= 0


def test_more_than_a_millisecond_holds_go_on_in_the_next_ones() -> None:
    clock = FakeClock()
    ids = ExecutionIds(5, clock)
    taken = ids.take(10_000)
    assert taken == sorted(set(taken))
    assert {parts(number)[1] for number in taken} == {5}
    assert made_at(taken[-1]) == START + 2 * MILLISECOND
    clock.advance(0.001)  # less than what was used up
    assert ids.one() == taken[-1] + 1
    clock.advance(1)
    assert parts(ids.one())[2] == 0


def test_none_are_none_and_change_nothing() -> None:
    ids = ExecutionIds(1, FakeClock())
    assert ids.take(0) == []
    first = ids.one()
    assert ids.take(0) == []
    assert ids.one() == first + 1


def test_a_clock_that_jumps_back_gives_no_id_twice() -> None:
    clock = FakeClock()
    ids = ExecutionIds(7, clock)
    before = ids.take(100)
    clock.step(-3600)
    after = ids.take(5000)
    clock.step(7200)
    later = ids.take(2)
    every = before + after + later
    assert every == sorted(set(every))
    assert made_at(later[0]) == clock.now()


@given(
    st.lists(
        st.tuples(st.floats(-10_000, 10_000, allow_nan=False), st.integers(0, 9000)),
        max_size=20,
    )
)
def test_ids_ascend_however_the_clock_moves(moves: list[tuple[float, int]]) -> None:
    clock = FakeClock()
    ids = ExecutionIds(3, clock)
    every = [ids.one()]
    for seconds, count in moves:
        clock.step(seconds)
        taken = ids.take(count)
        assert len(taken) == count
        if taken:
            assert made_at(taken[-1]) >= clock.now() - MILLISECOND
        every += taken
    assert all(first < second for first, second in pairwise(every))


def test_threads_share_a_source_and_nodes_a_clock_without_a_double() -> None:
    sources = [ExecutionIds(node, FakeClock()) for node in range(4)]
    barrier = threading.Barrier(8)

    def take(worker: int) -> list[list[int]]:
        barrier.wait()
        return [sources[worker % 4].take(1 + step % 7) for step in range(1500)]

    with ThreadPoolExecutor(8) as pool:
        batches = [batch for batches in pool.map(take, range(8)) for batch in batches]
    every = [number for batch in batches for number in batch]
    assert len(set(every)) == len(every)
    assert all(batch == sorted(batch) for batch in batches)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(0, NODES - 1))  # noqa: DTZ001
def test_the_bound_of_a_time_parts_earlier_ids_from_later_ones(naive: datetime, node: int) -> None:
    moment = naive.replace(tzinfo=UTC)
    make: Callable[[datetime], int] = lambda at: ExecutionIds(node, FakeClock(at)).one()  # noqa: E731
    assert first_id_at(moment) <= make(moment)
    assert make(moment - MILLISECOND) < first_id_at(moment)
    assert made_at(first_id_at(moment)) <= moment < made_at(first_id_at(moment)) + MILLISECOND
