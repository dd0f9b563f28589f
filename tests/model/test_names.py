from __future__ import annotations

import unicodedata

import pytest

from reconciler.model.names import (
    Address,
    environment_name,
    normalise_former_name,
    normalise_name,
    normalise_server_reference,
)


@pytest.mark.parametrize("name", ["db-1", "备份数据库", "a b", "x" * 100, "été", "🚀"])
def test_names_of_any_script_are_good(name: str) -> None:
    assert normalise_name(name) == unicodedata.normalize("NFC", name)


def test_a_name_is_normalised_so_that_two_ways_of_typing_it_are_one() -> None:
    assert normalise_name("e\u0301te\u0301") == "\u00e9t\u00e9"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "at least one"),
        ("x" * 101, "at most 100"),
        (" a", "space"),
        ("a ", "space"),
        ("a\u3000", "space"),
        ("a/b", "'/'"),
        ("a@b", "'@'"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
    ],
)
def test_a_bad_name_is_refused_with_the_reason(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        normalise_name(name)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("backup", Address("backup")),
        ("backup@db-1", Address("backup", "db-1")),
        ("billing/backup@db-1", Address("backup", "db-1", "billing")),
        ("billing/backup", Address("backup", None, "billing")),
    ],
)
def test_an_address_is_taken_apart_and_put_together(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "@", "a@", "@b", "/a", "a/", "a@b@c", "a/b/c"])
def test_an_impossible_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Address.parse(text)


def test_references_may_name_another_project_and_former_names_a_server() -> None:
    assert normalise_server_reference("shared/bastion") == "shared/bastion"
    assert normalise_former_name("old@web-1") == "old@web-1"


@pytest.mark.parametrize("name", ["", "1A", "A-B", "RECONCILER_TASK", "Ä", "A\n"])
def test_only_posix_names_that_are_free_become_environment_variables(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|taken"):
        environment_name(name)
