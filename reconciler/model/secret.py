"""References to secrets: where a value comes from, never the value."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StrictStr

_ENV = re.compile(r"[A-Za-z0-9_]{1,200}", re.ASCII)
_PROVIDER = re.compile(r"[a-z][a-z0-9_-]{0,30}", re.ASCII)


def _check(reference: dict[str, str]) -> dict[str, str]:
    if len(reference) != 1:
        raise ValueError("a secret has exactly one source, such as {env: NAME} or {file: NAME}")
    ((provider, name),) = reference.items()
    if not _PROVIDER.fullmatch(provider):
        raise ValueError(
            f"{provider!r} is not a provider's name: write env, file or one that the settings define"
        )
    if not name or "\0" in name:
        raise ValueError("the source needs a name: write {env: NAME} or {file: NAME}")
    if provider == "env" and not _ENV.fullmatch(name):
        raise ValueError(f"{name!r} is not a variable name; {{env: NAME}} reads RECONCILER_SECRET_NAME")
    if provider == "file" and (name.startswith("/") or ".." in name.split("/")):
        raise ValueError(
            f"{name!r} leaves the secrets folder; {{file: NAME}} reads below RECONCILER_SECRETS_DIR"
        )
    return reference


SecretReference = Annotated[
    dict[StrictStr, StrictStr],
    AfterValidator(_check),
    Field(
        examples=[{"env": "APP_PASSWORD"}, {"file": "id_ed25519"}],
        json_schema_extra={"minProperties": 1, "maxProperties": 1},
    ),
]
"""``{env: NAME}``, ``{file: NAME}`` or ``{PROVIDER: NAME}`` with a provider that the settings define."""
