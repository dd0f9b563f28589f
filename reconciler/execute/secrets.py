"""From a secret's reference to its value, at run time and nowhere else."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from reconciler.errors import SecretUnavailable

PREFIX = "RECONCILER_SECRET_"
MAX_BYTES = 1024 * 1024
"""More than any key or token; a wrong path such as a log file stops here."""
PROVIDER_SECONDS = 30.0


class SecretResolver:
    """Reads ``{env: NAME}``, ``{file: NAME}`` and ``{PROVIDER: NAME}`` references.

    Values are bytes as the source has them, except that one newline at the end of a file's or a command's
    text is dropped. ``environment`` is where RECONCILER_SECRET_NAME is looked up (and what providers inherit,
    without these variables). Errors name the source and never hold a value or a command's output.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        secrets_dir: Path | None = None,
        providers: Mapping[str, tuple[str, ...]] | None = None,
        provider_seconds: float = PROVIDER_SECONDS,
    ) -> None:
        self._environment = environment
        self._folder = secrets_dir
        self._providers = dict(providers or {})
        self._seconds = provider_seconds

    def use(self, secrets_dir: Path | None, providers: Mapping[str, tuple[str, ...]]) -> None:
        """Look there from now on."""
        self._folder, self._providers = secrets_dir, dict(providers)

    def resolve(self, reference: Mapping[str, str]) -> bytes:
        """The value. Raises SecretUnavailable if it is not there, empty, too long or has a NUL byte."""
        ((provider, name),) = reference.items()
        if provider == "env":
            value = self._from_environment(name)
        elif provider == "file":
            value = self._from_file(name)
        else:
            value = self._from_command(provider, name)
        source = f"the secret {{{provider}: {name}}}"
        if not value:
            raise SecretUnavailable(f"{source} is empty")
        if len(value) > MAX_BYTES:
            raise SecretUnavailable(f"{source} is longer than {MAX_BYTES} bytes")
        if b"\0" in value:
            raise SecretUnavailable(f"{source} holds a NUL byte, which no environment variable can")
        return value

    def _from_environment(self, name: str) -> bytes:
        try:
            return os.fsencode(self._environment[PREFIX + name])
        except KeyError:
            raise SecretUnavailable(
                f"the secret {{env: {name}}} is not there: {PREFIX}{name} is not set",
                hint=f"set {PREFIX}{name} for the process that executes",
            ) from None

    def _from_file(self, name: str) -> bytes:
        source = f"the secret {{file: {name}}}"
        if self._folder is None:
            raise SecretUnavailable(
                f"{source} has no folder: RECONCILER_SECRETS_DIR is not set",
                hint="set RECONCILER_SECRETS_DIR to the folder that holds the secrets",
            )
        try:
            folder = self._folder.resolve(strict=True)
            path = (folder / name).resolve(strict=True)
            # A link may point within the folder (mounted secrets do), never out of it.
            if not path.is_relative_to(folder) or path == folder:
                raise SecretUnavailable(f"{source} leaves the secrets folder")
            return _without_newline(_read(path, source))
        except FileNotFoundError:
            raise SecretUnavailable(
                f"{source} is not there",
                hint=f"put it in a file of that name in {self._folder} (RECONCILER_SECRETS_DIR)",
            ) from None
        except (OSError, RuntimeError, ValueError) as error:
            # RuntimeError: links that run in a circle
            detail = error.strerror if isinstance(error, OSError) else None
            raise SecretUnavailable(f"{source} cannot be read: {detail or type(error).__name__}") from None

    def _from_command(self, provider: str, name: str) -> bytes:
        source = f"the secret {{{provider}: {name}}}"
        command = self._providers.get(provider)
        if command is None:
            known = ", ".join(sorted({"env", "file", *self._providers}))
            raise SecretUnavailable(
                f"{source} has an unknown provider; known are {known}",
                hint=f'define it in reconciler.toml: [providers] {provider} = ["command", "argument"]',
            )
        environment = {key: value for key, value in self._environment.items() if not key.startswith(PREFIX)}
        try:
            with subprocess.Popen(
                [*command, name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            ) as process:
                try:
                    output, _ = process.communicate(timeout=self._seconds)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise SecretUnavailable(
                        f"{source} did not come: {command[0]} took longer than {self._seconds:g} s"
                    ) from None
        except (OSError, ValueError) as error:
            detail = (
                error.strerror if isinstance(error, OSError) else "its words cannot be passed to a program"
            )
            raise SecretUnavailable(f"{source} did not come: {command[0]} does not run: {detail}") from None
        if process.returncode != 0:
            raise SecretUnavailable(
                f"{source} did not come: {command[0]} ended with exit code {process.returncode}",
                hint="run the provider's command by hand to see what it says",
            )
        return _without_newline(output)


def _read(path: Path, source: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SecretUnavailable(f"{source} is not a file")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 2)
    finally:
        os.close(descriptor)


def _without_newline(value: bytes) -> bytes:
    return value[:-1] if value.endswith(b"\n") else value
