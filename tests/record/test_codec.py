"""A record as bytes: all that recording it needs, exactly, and nothing that others should not read."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from reconciler.model.execution import CapturedStream, Hop, Job, Outcome, Reason, Status
from reconciler.model.server import ServerSpec
from reconciler.record.batch import Ended, Started
from reconciler.record.codec import decode, encode, shape
from reconciler.record.ledger import next_attempt
from tests.dispatch.fleet import START, at
from tests.record.runs import ended, job, outcome

NASTY = 'it\'s "quoted" \\ %s \x00 \x1a 备份 🎉 \r\n\t \udcff lone'
RETRIES = {"limit": 3, "backoff": "45s", "factor": 1.5, "maxBackoff": "10m"}


def test_a_record_comes_back_as_it_was_but_for_the_command() -> None:
    hop = Hop(
        "bastion",
        ServerSpec.model_validate(
            {"host": "10.0.0.1", "username": "me", "auth": {"privateKey": {"file": "key"}}, "port": 2222}
        ),
    )
    work = replace(
        job(7, 3, retries=RETRIES, runAs="app", timeout="5m"), jumps=(hop,), started_at=at(1.000001)
    )
    end = Ended(
        work,
        outcome(
            7,
            Reason.EXIT_CODE,
            stdout=CapturedStream(NASTY, 99, "a" * 64, truncated=True),
            message="no wonder",
            archive="s3://b/7",
        ),
    )
    bare = replace(work, spec=work.spec.model_copy(update={"command": None}))
    assert decode(encode(end)) == Ended(bare, end.outcome)
    assert decode(encode(Started(work, at(2)))) == Started(bare, at(2))
    assert next_attempt(Ended(bare, end.outcome)) == next_attempt(end) is not None


def test_neither_the_command_nor_its_environment_are_written_down() -> None:
    end = ended(1, of=job(1, command="mysql -phunter2", env={"TOKEN": "hunter3"}))
    assert b"hunter" not in encode(end)


def test_every_field_is_written_down() -> None:
    written = shape(Ended(job(1), outcome(1)))
    assert set(written["job"]) == {to_camel(field.name) for field in fields(Job)}
    assert set(written["outcome"]) == {to_camel(field.name) for field in fields(Outcome)}
    assert len(written["outcome"]["stdout"]) == len(fields(CapturedStream))


STREAMS = st.builds(
    CapturedStream, st.text(max_size=50), st.integers(0, 2**62), st.just("f" * 64), st.booleans()
)
OUTCOMES = st.builds(
    Outcome,
    st.just(5),
    st.sampled_from([Status.SUCCESS, Status.FAILED]),
    st.sampled_from(list(Reason)),
    st.just(START),
    st.sampled_from([None, at(1)]),
    st.one_of(st.none(), st.integers(-1, 300)),
    STREAMS,
    STREAMS,
    st.one_of(st.none(), st.text(max_size=20)),
    st.one_of(st.none(), st.text(max_size=20)),
)


@given(OUTCOMES)
def test_any_outcome_comes_back_as_it_was(found: Outcome) -> None:
    back = decode(encode(Ended(job(5), found)))
    assert isinstance(back, Ended)
    assert back.outcome == found


STRANGE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"kind":"ended"}',
    b"\xff\xfe",
    encode(ended(1)).replace(b'"ended"', b'"rested"'),
    encode(ended(1)).replace(b'"completed"', b'"splendid"'),
    encode(ended(1)).replace(b"+00:00", b"", 3),
    encode(ended(1)).replace(b'"executionId":1', b'"executionId":2', 1),
    encode(ended(1)).replace(b'"host":', b'"hostess":'),
    b"[" * 100_000,
]


@pytest.mark.parametrize("data", STRANGE, ids=range(len(STRANGE)))
def test_what_is_no_record_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(data)
