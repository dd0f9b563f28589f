"""What every part of a manifest shares: frozen, no unknown fields, camelCase in YAML.

Validation is strict about scalars (a port in quotes is a slip, not a number), because YAML has
types and the diff should show what the author meant.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError


class Model(BaseModel):
    """The base of all manifest models."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        defer_build=True,
        allow_inf_nan=False,
    )


def declared(model: Model, exclude: set[str] | None = None) -> dict[str, Any]:
    """What a model says, in YAML's names and JSON's values, defaults left out.

    What nobody set is a default: telling so first saves comparing dozens of values.
    """
    return model.model_dump(
        mode="json", by_alias=True, exclude=exclude, exclude_defaults=True, exclude_unset=True
    )


def exactly_one(given: Iterable[str], options: Iterable[str]) -> None:
    """Raise a pydantic error unless exactly one of ``options`` is in ``given``.

    The error's type is ``exactly_one`` and its context has ``given`` (the options that are there,
    a list of YAML names), so that the caller can point at the second one.
    """
    wanted, present = list(options), set(given)
    found = [name for name in wanted if name in present]
    if len(found) == 1:
        return
    names = " or ".join([", ".join(wanted[:-1]), wanted[-1]])
    fault = f"{' and '.join(found)} exclude each other" if found else "none of them is given"
    raise PydanticCustomError(
        "exactly_one",
        "exactly one of {names} is needed: {fault}",
        {"names": names, "fault": fault, "given": found},
    )


def _clean(text: str) -> str:
    if text.isprintable():
        return text
    for character in text:
        if unicodedata.category(character) == "Cc":
            raise ValueError(
                f"no control characters are allowed here, found U+{ord(character):04X}; remove it"
            )
    return text


@lru_cache(maxsize=1024)
def _label_key(text: str) -> str:
    if any(character in "=,!()" or character.isspace() for character in text):
        raise ValueError(
            "a label's key has no spaces and none of = , ! ( ); letters, digits, . _ / - are fine"
        )
    return _clean(text)


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character cannot be passed to a program; remove it")
    return text


def _word(text: str) -> str:
    """A word for a command line of another program: it must not look like an option."""
    if text.startswith("-"):
        raise ValueError("it must not begin with '-': it would be taken for an option")
    if any(character.isspace() for character in text):
        raise ValueError("it must not contain spaces: write one word")
    return _clean(text)


Text = Annotated[StrictStr, AfterValidator(_no_nul)]
CleanText = Annotated[StrictStr, AfterValidator(_clean)]
Word = Annotated[StrictStr, Field(min_length=1, max_length=255), AfterValidator(_word)]
LabelKey = Annotated[StrictStr, Field(min_length=1, max_length=100), AfterValidator(_label_key)]
LabelValue = Annotated[StrictStr, Field(max_length=255), AfterValidator(_clean)]
Labels = dict[LabelKey, LabelValue]
