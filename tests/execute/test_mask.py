from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.execute.mask import Masker, mask, maskable


def in_pieces(secrets: list[bytes], data: bytes, cuts: list[int]) -> bytes:
    masker = Masker(secrets)
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return b"".join(masker.feed(data[start:end]) for start, end in pairwise(edges)) + masker.flush()


@pytest.mark.parametrize(
    ("secrets", "data", "expected"),
    [
        ([b"hunter22"], b"pw=hunter22;", b"pw=***;"),
        ([b"hunter22"], b"hunter22", b"***"),
        ([b"hunter22"], b"hunter2", b"hunter2"),
        ([], b"nothing to hide", b"nothing to hide"),
        # one is the beginning of another: the longer one wins where it is
        ([b"abcd", b"abcdefgh"], b"abcdefgh abcd abcdef", b"*** *** ***ef"),
        # overlapping in the output: no end of either stays
        ([b"abcdef", b"defghi"], b"-abcdefghi-", b"-***-"),
        ([b"aaaa"], b"-aaaaaaaaaaa-", b"-***-"),
        ([b"abcd"], b"abcdabcd", b"******"),
        # too short to be masked
        ([b"abc"], b"abc", b"abc"),
        # a line end around a value belongs to the file it came from
        ([b"hunter22\n"], b"hunter22 here", b"*** here"),
        ([b"first line 1\nsecond line\n"], b"x\n  second line\r\nfirst line 1\n", b"x\n  ***\r\n***\n"),
        ([b"first line 1\nsecond line"], b"<first line 1\nsecond line>", b"<***>"),
        ([b"\xff\xfe\x00\x01"], b"..\xff\xfe\x00\x01..", b"..***.."),
        (["密码密码".encode()], "是密码密码。".encode(), "是***。".encode()),
    ],
)
def test_secrets_become_stars(secrets: list[bytes], data: bytes, expected: bytes) -> None:
    assert in_pieces(secrets, data, []) == expected
    assert in_pieces(secrets, data, list(range(len(data)))) == expected


LETTERS = st.lists(st.sampled_from(b"ab\n"), max_size=60).map(bytes)


@given(
    secrets=st.lists(st.lists(st.sampled_from(b"ab"), min_size=4, max_size=9).map(bytes), max_size=4),
    data=LETTERS,
    cuts=st.lists(st.integers(0, 100), max_size=12),
)
def test_it_does_not_matter_where_reads_end(secrets: list[bytes], data: bytes, cuts: list[int]) -> None:
    whole = in_pieces(secrets, data, [])
    assert in_pieces(secrets, data, cuts) == whole
    assert not any(secret in whole for secret in secrets)


@given(data=LETTERS, cuts=st.lists(st.integers(0, 100), max_size=12))
def test_without_a_match_nothing_changes(data: bytes, cuts: list[int]) -> None:
    assert in_pieces([b"abcdabcd", b"zzzz"], data, cuts) == data


def test_what_is_held_back_stays_small() -> None:
    masker = Masker([b"0000"])
    given = b"".join(masker.feed(b"0" * 1000) for _ in range(100)) + masker.flush()
    assert given == b"***"
    assert len(masker._held) < 4


def test_output_without_a_beginning_of_a_secret_is_given_at_once() -> None:
    masker = Masker([b"hunter22"])
    assert masker.feed(b"progress 10 %\n") == b"progress 10 %\n"
    assert masker.feed(b"login hunt") == b"login "


@pytest.mark.parametrize(
    ("secret", "answer"), [(b"abc", False), (b"abc\n", False), (b"abcd", True), (b"\n\n\n\n", False)]
)
def test_short_secrets_cannot_be_masked(secret: bytes, answer: bool) -> None:
    assert maskable(secret) is answer


def test_messages_are_masked_too() -> None:
    assert mask("cannot cd to /srv/hunter22", [b"hunter22"]) == "cannot cd to /srv/***"
