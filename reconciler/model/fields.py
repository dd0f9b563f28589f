"""Names, durations, sizes and zones as fields of manifests' models.

Apart from the functions that read them: those are needed by everything, also where no manifest is.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StrictStr, WithJsonSchema

from reconciler.model.names import (
    environment_name,
    normalise_former_name,
    normalise_name,
    normalise_server_reference,
)
from reconciler.model.quantity import format_duration, format_size, parse_duration, parse_size
from reconciler.model.zone import zone

# for the schema only: the validators look at the length themselves, and say more about it
_NOT_EMPTY = {"minLength": 1}
Name = Annotated[
    StrictStr,
    AfterValidator(normalise_name),
    Field(examples=["db-1", "备份数据库"], json_schema_extra=_NOT_EMPTY),
]
ServerReference = Annotated[
    StrictStr, AfterValidator(normalise_server_reference), Field(json_schema_extra=_NOT_EMPTY)
]
FormerName = Annotated[StrictStr, AfterValidator(normalise_former_name), Field(json_schema_extra=_NOT_EMPTY)]
EnvironmentName = Annotated[StrictStr, AfterValidator(environment_name)]


def _duration(value: object) -> int:
    return parse_duration(value)


def _size(value: object) -> int:
    return parse_size(value)


Seconds = Annotated[
    int,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+s)?$",
            "examples": ["90s", "5m", "1h30m", "2d"],
        }
    ),
]
"""A duration in a manifest; whole seconds in the program."""

Bytes = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(B|KiB|MiB|GiB)$", "examples": ["64KiB", "1MiB"]}),
]
"""A size in a manifest; bytes in the program."""


def _zone_name(text: str) -> str:
    zone(text)
    return text


TimeZone = Annotated[StrictStr, AfterValidator(_zone_name), Field(examples=["Europe/Berlin", "UTC"])]
