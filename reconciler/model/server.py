"""A server as declared."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr, model_validator
from pydantic_core import PydanticCustomError

from reconciler.model.base import CleanText, Model, Word, declared
from reconciler.model.enums import Connection
from reconciler.model.fields import ServerReference
from reconciler.model.metadata import IDENTITY, ServerMetadata
from reconciler.model.secret import SecretReference

_HOST_KEY = re.compile(
    r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9-]+@openssh\.com) [A-Za-z0-9+/]+=*( .*)?"
)


def _host_key(text: str) -> str:
    if not _HOST_KEY.fullmatch(text):
        raise ValueError(
            "this is not a public host key: write the type and the base64 text,"
            " as in /etc/ssh/ssh_host_ed25519_key.pub"
        )
    return " ".join(text.split(" ")[:2])


HostKey = Annotated[
    StrictStr, AfterValidator(_host_key), Field(examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA…"])
]


class Auth(Model):
    """How we prove who we are; without it the ssh agent does."""

    private_key: SecretReference | None = None
    """The source of a private key in OpenSSH or PEM form."""
    passphrase: SecretReference | None = None
    """The source of the private key's passphrase."""
    password: SecretReference | None = None
    """The source of a password, instead of a key."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.private_key is None) == (self.password is None):
            raise PydanticCustomError(
                "auth", "either privateKey or password is needed; leave auth out to use the ssh agent"
            )
        if self.passphrase is not None and self.private_key is None:
            raise PydanticCustomError(
                "auth", "a passphrase belongs to a privateKey: name the key too, or remove it"
            )
        return self


class ServerSpec(Model):
    """What a server is and how it is reached."""

    host: Word = Field(examples=["10.0.0.11", "db-1.example.net"])
    """Host name or address."""
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = 22
    """TCP port of its ssh daemon."""
    username: Annotated[Word, Field(max_length=100)] | None = Field(default=None, examples=["deploy"])
    """The account that runs the commands; required for `connection: ssh`."""
    environment: Annotated[CleanText, Field(max_length=100)] = Field(default="", examples=["production"])
    """Free word to group servers by."""
    enabled: StrictBool = True
    """False: no task runs here."""
    connection: Connection = Connection.SSH
    """`ssh`, or `local` for the machine that executes (only where the settings allow it)."""
    auth: Auth | None = None
    """Key or password by reference; absent: the ssh agent."""
    host_keys: tuple[HostKey, ...] = ()
    """Pinned public host keys; absent: the configured known_hosts file."""
    jump: ServerReference | None = Field(default=None, examples=["bastion-1"])
    """Another server through which this one is reached."""
    max_concurrent_runs: Annotated[StrictInt, Field(ge=1, le=1000)] = 8
    """How many runs may be in progress here at once, over all workers."""
    durable: StrictBool = True
    """False: for hosts without a writable place; a run then ends with its connection."""

    @model_validator(mode="after")
    def _username_for_ssh(self) -> Self:
        if self.connection is Connection.SSH and self.username is None:
            raise PydanticCustomError("missing_username", "username is required for connection: ssh")
        return self


class ServerDeclaration(Model):
    """A machine that runs tasks."""

    api_version: Literal["reconciler/v1"]
    kind: Literal["Server"]
    metadata: ServerMetadata
    spec: ServerSpec


def server_document(declaration: ServerDeclaration) -> dict[str, Any]:
    """The canonical document of a server: what is diffed, hashed and stored; defaults left out."""
    return {
        "metadata": declared(declaration.metadata, IDENTITY),
        "spec": declared(declaration.spec),
    }
