"""Proves to a server who we are: by key, password or agent."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import NoReturn

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from reconciler.errors import SecretUnavailable
from reconciler.execute.fault import Fault
from reconciler.execute.secrets import SecretResolver
from reconciler.execute.ssh.faults import fault_of
from reconciler.execute.ssh.transport import Link
from reconciler.model.execution import Hop, Reason

MAX_AGENT_KEYS = 6
"""sshd's MaxAuthTries: it hangs up after that many."""

Check = Callable[[], None]
"""Raises a Fault when it is time to give up."""


def log_in(link: Link, hop: Hop, secrets: SecretResolver, check: Check) -> None:
    """Log in as the server's spec says. Raises Fault: auth-failed, unreachable, start-failed (a secret)."""
    auth = hop.spec.auth
    if auth is None:
        _by_agent(link, hop, check)
    elif auth.password is not None:
        _by_password(link, hop, _secret(secrets, hop, auth.password), check)
    elif auth.private_key is not None:
        text = _secret(secrets, hop, auth.private_key)
        passphrase = None if auth.passphrase is None else _secret(secrets, hop, auth.passphrase)
        key = load_key(text, passphrase, hop.name)
        if not _try_key(link, hop, key, True, check):
            raise Fault(
                Reason.AUTH_FAILED,
                f"{hop.name} refused user {_user(hop)} with the key {key.get_name()} {key.fingerprint}; "
                "is its public half in the account's authorized_keys?",
            )


def load_key(text: bytes, passphrase: bytes | None, server: str) -> paramiko.PKey:
    """A private key in OpenSSH or PEM form (PKCS#1, PKCS#8, SEC 1). Raises Fault auth-failed."""
    if not text.endswith(b"\n"):
        text += b"\n"
    load = (
        serialization.load_ssh_private_key if b"BEGIN OPENSSH" in text else serialization.load_pem_private_key
    )
    try:
        loaded = load(text, passphrase)
    except TypeError:
        # cryptography's way to say that one is missing, or given for nothing
        words = "needs a passphrase" if passphrase is None else "has no passphrase, but one is given"
        raise Fault(Reason.AUTH_FAILED, f"the private key for {server} {words}") from None
    except (ValueError, UnsupportedAlgorithm):
        words = "cannot be read" if passphrase is None else "cannot be read: a wrong passphrase, or no key"
        hint = "OpenSSH and PEM forms of Ed25519, ECDSA and RSA keys are understood"
        raise Fault(Reason.AUTH_FAILED, f"the private key for {server} {words}; {hint}") from None
    kinds: tuple[tuple[type, type[paramiko.PKey]], ...] = (
        (Ed25519PrivateKey, paramiko.Ed25519Key),
        (EllipticCurvePrivateKey, paramiko.ECDSAKey),
        (RSAPrivateKey, paramiko.RSAKey),
    )
    for kind, key_class in kinds:
        if isinstance(loaded, kind):
            plain = loaded.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
            try:
                return key_class.from_private_key(io.StringIO(plain.decode("ascii")))
            except Exception as error:
                raise fault_of(error, f"the private key for {server}", "") from None
    raise Fault(Reason.AUTH_FAILED, f"the private key for {server} is of a kind that ssh no longer accepts")


def _secret(secrets: SecretResolver, hop: Hop, reference: dict[str, str]) -> bytes:
    try:
        return secrets.resolve(reference)
    except SecretUnavailable as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise Fault(Reason.START_FAILED, f"logging in to {hop.name}: {error.message}{hint}") from None


def _by_agent(link: Link, hop: Hop, check: Check) -> None:
    tried: list[str] = []
    for key in _agent_keys(hop):
        tried.append(f"{key.get_name()} {key.fingerprint}")
        if _try_key(link, hop, key, len(tried) == 1, check):
            return
    if tried:
        raise Fault(
            Reason.AUTH_FAILED,
            f"{hop.name} refused user {_user(hop)} with the ssh agent's keys: {', '.join(tried)}",
        )
    raise Fault(
        Reason.AUTH_FAILED,
        f"there is no way to log in to {hop.name}: the Server has no auth, and no ssh agent with a key "
        "answers at SSH_AUTH_SOCK",
    )


def _agent_keys(hop: Hop) -> Iterator[paramiko.PKey]:
    try:
        agent = paramiko.Agent()
    except Exception as error:
        raise fault_of(error, f"the ssh agent for {hop.name}") from error
    try:
        yield from agent.get_keys()[:MAX_AGENT_KEYS]
    finally:
        agent.close()


def _try_key(link: Link, hop: Hop, key: paramiko.PKey, first: bool, check: Check) -> bool:
    """Whether the server takes the key; raises Fault where it is not the key's fault."""
    event = threading.Event()
    try:
        link.auth_publickey(_user(hop), key, event)
    except Exception as error:
        raise fault_of(error, hop.name) from error
    _wait(link, event, check)
    if link.is_authenticated():
        return True
    answer = link.get_exception()
    if not link.is_active():
        _hung_up(link, hop, answer, first)
    if isinstance(answer, (paramiko.BadAuthenticationType, paramiko.ssh_exception.PartialAuthentication)):
        _wants_other(hop, answer)
    return False


def _by_password(link: Link, hop: Hop, password: bytes, check: Check) -> None:
    event = threading.Event()
    text = password.decode("utf-8", "surrogateescape")
    try:
        link.auth_password(_user(hop), text, event, fallback=False)
    except Exception as error:
        raise fault_of(error, hop.name, "") from error
    _wait(link, event, check)
    answer = link.get_exception()
    if not link.is_authenticated() and isinstance(answer, paramiko.BadAuthenticationType):
        if "keyboard-interactive" not in answer.allowed_types:
            _wants_other(hop, answer)
        answer = _by_questions(link, hop, text)
    if link.is_authenticated():
        return
    if not link.is_active():
        _hung_up(link, hop, answer, True)
    if isinstance(answer, paramiko.ssh_exception.PartialAuthentication):
        _wants_other(hop, answer)
    raise Fault(Reason.AUTH_FAILED, f"{hop.name} refused user {_user(hop)} with this password")


def _by_questions(link: Link, hop: Hop, password: str) -> Exception | None:
    """Servers that ask for the password by themselves (PAM): one hidden question is answered with it."""

    def answers(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
        return (
            [password for _ in prompts] if len(prompts) == 1 and not prompts[0][1] else ["" for _ in prompts]
        )

    try:
        link.auth_interactive(_user(hop), answers)
    except Exception as error:
        return error
    return None


def _wait(link: Link, event: threading.Event, check: Check) -> None:
    while not event.wait(0.1) and link.is_active():
        check()


def _hung_up(link: Link, hop: Hop, error: BaseException | None, first: bool) -> NoReturn:
    """It hung up during the login: because of us, or because the connection failed?"""
    said = link.disconnect
    if (said is not None and "authentication" in said.lower()) or not first:
        raise Fault(
            Reason.AUTH_FAILED,
            f"{hop.name} refused user {_user(hop)} and hung up" + (f" ({said})" if said else ""),
        )
    if isinstance(error, paramiko.SSHException) and not isinstance(error, paramiko.AuthenticationException):
        raise fault_of(error, hop.name)
    raise Fault(Reason.UNREACHABLE, f"{hop.name} hung up during the login" + (f" ({said})" if said else ""))


def _wants_other(hop: Hop, error: paramiko.AuthenticationException) -> NoReturn:
    allowed = ", ".join(getattr(error, "allowed_types", ()))
    raise fault_of(error, f"{hop.name}, user {_user(hop)}", f"it accepts: {allowed}")


def _user(hop: Hop) -> str:
    return hop.spec.username or ""
