"""Output while it comes: pieces in order, nothing twice, and what is missing is said."""

from __future__ import annotations

import codecs
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.cli.console import DIM, YELLOW, Console, paint
from reconciler.cli.logtext import Labelled, Output
from reconciler.errors import ArchiveUnavailable, NotFound, SettingsInvalid, Temporary
from reconciler.model.execution import State, Status, state_of

if TYPE_CHECKING:
    from reconciler.clock import Clock
    from reconciler.dispatch.following import Follower
    from reconciler.execute.control import Stream
    from reconciler.record.archive import Archives
    from reconciler.report.output import StoredStream
    from reconciler.store.engine import Database
    from reconciler.store.live import LivePiece, LiveState
    from reconciler.store.views import ExecutionView

PATIENCE_SECONDS = 30.0
"""For a database that does not answer while a run is followed."""
LAST_LOOKS = 10
"""After a run's end, for pieces that its owner has still to write and that no row keeps."""

_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}


@contextmanager
def follower(db: Database, clock: Clock, console: Console) -> Iterator[Follower]:
    """One who follows, for the block; tells where the database's user may not."""
    from reconciler.dispatch.following import Follower

    one = Follower(db, clock, f"{random.Random().getrandbits(48):012x}")
    try:
        yield one
    finally:
        one.close()
    if not one.allowed:
        text = "the database's user may only read, so no output was asked for while the run went on"
        console.note(paint(text, YELLOW, console.colour_err))


class LiveRun:
    """One followed execution on standard output. ``streams`` are those to show, ``label`` begins each line
    where several runs are shown, ``tail``: of what is there at first only the last so many lines.
    """

    def __init__(
        self,
        execution_id: int,
        follower: Follower,
        output: Output | Labelled,
        console: Console,
        clock: Clock,
        streams: Sequence[Stream] = ("stdout", "stderr"),
        tail: int | None = None,
    ) -> None:
        self.execution_id = execution_id
        self._follower = follower
        self._output = output
        self._console = console
        self._clock = clock
        self._streams = streams
        self._tail = tail
        self._seen: dict[Stream, int] = {"stdout": 0, "stderr": 0}
        self._repaired: dict[Stream, int] = {"stdout": 0, "stderr": 0}
        self._gaps: set[Stream] = set()
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {stream: decoder("surrogateescape") for stream in self._seen}
        self._last: Stream | None = None
        self._failing: float | None = None
        self.touched = False
        """Whether anything was shown."""

    def step(self) -> LiveState | None:
        """Show what came; the state of the run, None while the database does not answer."""
        pieces: list[LivePiece] = []
        try:
            state = self._follower.look(self.execution_id)
            while state.pieces:
                pieces += state.pieces
                state = self._follower.look(self.execution_id)
            self._failing = None
        except Temporary as error:
            self._bear(error)
            return None
        finally:
            self._show(pieces)
        return state

    def finish(
        self, view: ExecutionView, streams: dict[Stream, StoredStream], archives: Callable[[], Archives]
    ) -> None:
        """The run has ended: show what was not seen of it, from its row or its archive."""
        for _ in range(LAST_LOOKS):
            if view.archive or not any(self._lacks(streams[stream], stream) for stream in self._streams):
                break
            self._clock.sleep(0.1)
            self.step()
        for stream in self._streams:
            self._rest(stream, streams[stream], view.archive, archives)
            if streams[stream].message:
                self._output.end_line()
                self._output.write(streams[stream].message)
        self._output.end_line()
        self._output.flush()

    def _lacks(self, stored: StoredStream, stream: Stream) -> bool:
        return bool(stored.left_out) and self._seen[stream] < stored.head + stored.left_out

    def _bear(self, error: Temporary) -> None:
        now = self._clock.monotonic()
        if self._failing is None:
            self._failing = now
            self._note(f"{error.message}; trying again")
        elif now - self._failing > PATIENCE_SECONDS:
            raise error

    def _show(self, pieces: Sequence[LivePiece]) -> None:
        skip = 0
        if self._tail is not None and pieces:
            chosen = [piece for piece in pieces if _STREAMS[piece.stream] in self._streams]
            skip = _start_of_last_lines(b"".join(piece.data for piece in chosen), self._tail)
        for piece in pieces:
            stream = _STREAMS[piece.stream]
            if stream not in self._streams:
                continue
            start, data = piece.start, piece.data
            if self._tail is not None:
                # these were before the lines that are wanted
                cut = min(skip, len(data))
                skip, start, data = skip - cut, start + cut, data[cut:]
                if start > self._seen[stream]:
                    self._seen[stream] = start
                    self._gaps.add(stream)
            self._piece(stream, start, data)
        if pieces:
            self._tail = None
            self._output.flush()

    def _piece(self, stream: Stream, start: int, data: bytes) -> None:
        seen = self._seen[stream]
        if start + len(data) <= seen:
            return
        if start > seen:
            self._gap(stream, start - seen, "not shown live")
            seen = start
        self._put(stream, data[seen - start :])

    def _put(self, stream: Stream, data: bytes) -> None:
        if not data:
            return
        if self._last not in (None, stream):
            self._output.end_line()
        self._last = stream
        self.touched = True
        self._output.write(data)
        self._seen[stream] += len(data)
        text = self._decoders[stream].decode(data)
        # as the row counts it: each byte that is no UTF-8 becomes one character of three bytes
        self._repaired[stream] += len(text.encode("utf-8", "surrogatepass"))

    def _gap(self, stream: Stream, count: int, why: str) -> None:
        self._gaps.add(stream)
        self._seen[stream] += count
        self._output.flush()
        self._note(f"[… {count:,} bytes of {stream} {why}]")

    def _rest(
        self, stream: Stream, stored: StoredStream, place: str | None, archives: Callable[[], Archives]
    ) -> None:
        seen = self._seen[stream]
        if seen >= stored.total:
            return
        if stored.whole:
            self._put(stream, stored.data[seen:])
        elif not (place and self._from_archive(stream, stored, place, archives)):
            self._from_row(stream, stored)

    def _from_archive(
        self, stream: Stream, stored: StoredStream, place: str, archives: Callable[[], Archives]
    ) -> bool:
        try:
            with archives().read(place, stream) as found:
                if found.total != stored.total:
                    return False
                for piece in found.bytes_from(self._seen[stream]):
                    self._put(stream, piece)
        except (ArchiveUnavailable, NotFound, SettingsInvalid) as error:
            self._note(f"{error.message}; what follows is from the row")
            return False
        return True

    def _from_row(self, stream: Stream, stored: StoredStream) -> None:
        if stored.left_out:
            end, data = stored.head + stored.left_out, stored.data
            self._put(stream, data[self._seen[stream] : stored.head])
            if self._seen[stream] < end:
                self._gap(stream, end - self._seen[stream], "not kept")
            tail = data[len(data) - (stored.total - end) :]
            self._put(stream, tail[self._seen[stream] - end :])
        elif stream not in self._gaps:
            self._put(stream, stored.data[self._repaired[stream] :])
        else:
            self._gap(stream, stored.total - self._seen[stream], "not shown: `logs` shows what is kept")

    def _note(self, text: str) -> None:
        self._output.flush()
        self._console.note(paint(text, YELLOW, self._console.colour_err))


def follow_to_end(run: LiveRun, console: Console, clock: Clock) -> None:
    """Show a run until it has ended. Raises NotFound if it is pruned meanwhile."""
    from reconciler.dispatch.following import LIVE_SECONDS

    told: State | None = None
    while True:
        state = run.step()
        if state is not None and state.status != Status.OPEN:
            return
        if state is not None and (now := state_of(state.status, state.started)) is not told:
            console.note(paint(f"execution {run.execution_id} is {now} …", DIM, console.colour_err))
            told = now
        clock.sleep(LIVE_SECONDS)


def _start_of_last_lines(data: bytes, lines: int) -> int:
    """Where the last so many lines of a text begin."""
    at = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        at = data.rfind(b"\n", 0, at)
        if at < 0:
            return 0
    return at + 1
