"""The newest output of a run: bounded, in order, every byte at its place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.controller import recent
from reconciler.controller.recent import Recent
from reconciler.execute.control import Stream

OUTPUT = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=3000)), max_size=80
)


@given(OUTPUT, st.integers(0, 80))
def test_pieces_stand_at_their_places_and_none_is_given_twice(
    output: list[tuple[Stream, bytes]], look_after: int
) -> None:
    kept = Recent()
    whole: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    got: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
    at = 0
    for number, (stream, data) in enumerate(output):
        kept.add(stream, data)
        whole[stream] += data
        if number % (look_after + 1) == look_after:
            at = take(kept, at, whole, got)
    at = take(kept, at, whole, got)
    assert kept.since(at) == ([], at)
    # nothing was dropped: it all fits
    if sum(map(len, whole.values())) <= recent.KEPT_BYTES:
        assert got == whole


def take(kept: Recent, at: int, whole: dict[Stream, bytes], got: dict[Stream, bytes]) -> int:
    pieces, end = kept.since(at)
    for piece in pieces:
        assert whole[piece.stream][piece.start : piece.start + len(piece.data)] == piece.data
        assert piece.start >= len(got[piece.stream])
        got[piece.stream] += bytes(piece.start - len(got[piece.stream])) + piece.data
    return end


def test_only_the_newest_bytes_are_kept_however_they_come() -> None:
    kept = Recent()
    kept.add("stdout", b"x" * 10 + b"y" * recent.KEPT_BYTES)
    (piece,), end = kept.since(0)
    assert (piece.start, piece.data, end) == (10, b"y" * recent.KEPT_BYTES, recent.KEPT_BYTES + 10)
    for number in range(100_000):
        kept.add("stdout" if number % 2 else "stderr", b"z\n")
    pieces, end = kept.since(0)
    assert len(kept._pieces) <= recent.KEPT_PIECES
    assert [piece.stream for piece in pieces] == ["stderr", "stdout"]
    assert end == recent.KEPT_BYTES + 10 + 200_000
    assert pieces[0].start + len(pieces[0].data) == 100_000
