"""paramiko's and the network's exceptions as faults. A test lists paramiko's, so none can be forgotten."""

from __future__ import annotations

import socket

import paramiko
from paramiko.auth_strategy import AuthFailure
from paramiko.hostkeys import InvalidHostKey
from paramiko.pkey import UnknownKeyType

from reconciler.execute.fault import Fault
from reconciler.model.execution import Reason

HANDLED: dict[type[BaseException], tuple[Reason, str]] = {
    paramiko.BadHostKeyException: (Reason.HOST_KEY, "it showed a host key that is not the known one"),
    InvalidHostKey: (Reason.HOST_KEY, "a known host key is malformed"),
    paramiko.PasswordRequiredException: (Reason.AUTH_FAILED, "the private key needs a passphrase"),
    paramiko.BadAuthenticationType: (Reason.AUTH_FAILED, "it does not accept this way of logging in"),
    paramiko.ssh_exception.PartialAuthentication: (
        Reason.AUTH_FAILED,
        "it wants a second way of logging in too",
    ),
    paramiko.ssh_exception.UnableToAuthenticate: (Reason.AUTH_FAILED, "it accepted no way of logging in"),
    AuthFailure: (Reason.AUTH_FAILED, "it accepted no way of logging in"),
    UnknownKeyType: (Reason.AUTH_FAILED, "the private key is of an unknown kind"),
    paramiko.AuthenticationException: (Reason.AUTH_FAILED, "it refused the login"),
    paramiko.ssh_exception.IncompatiblePeer: (
        Reason.UNREACHABLE,
        "its ssh daemon and we have no algorithm in common",
    ),
    paramiko.ssh_exception.MessageOrderError: (Reason.UNREACHABLE, "it broke the rules of the ssh protocol"),
    paramiko.ChannelException: (Reason.START_FAILED, "it refused to open a channel"),
    paramiko.ProxyCommandFailure: (Reason.UNREACHABLE, "the way to it failed"),
    paramiko.ssh_exception.CouldNotCanonicalize: (Reason.UNREACHABLE, "its name cannot be resolved"),
    paramiko.ConfigParseError: (Reason.INTERNAL, "an ssh configuration was read, which never happens"),
    paramiko.ssh_exception.NoValidConnectionsError: (Reason.UNREACHABLE, "no connection could be made"),
    paramiko.SFTPError: (Reason.INTERNAL, "a file transfer failed, which never happens"),
    paramiko.SSHException: (Reason.UNREACHABLE, "the ssh connection failed"),
    socket.gaierror: (Reason.UNREACHABLE, "its name cannot be resolved"),
    TimeoutError: (Reason.UNREACHABLE, "it did not answer in time"),
    EOFError: (Reason.UNREACHABLE, "it closed the connection"),
    OSError: (Reason.UNREACHABLE, "the connection failed"),
}
"""The nearest class of an exception's ancestry decides."""


class Passing(Fault):
    """A fault that the next seconds may cure: nobody answers, a port is closed, sshd restarts."""


_PASSING = (OSError, EOFError, paramiko.ssh_exception.NoValidConnectionsError)
_LASTING = (socket.EAI_NONAME, socket.EAI_FAIL, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
"""What a resolver says of names that will not be there in a moment either."""


def fault_of(error: BaseException, server: str, detail: str | None = None) -> Fault:
    """What ``error`` means for a run on ``server`` (a phrase). ``detail`` replaces the error's own words.

    The words of errors that may quote what we sent (keys, passwords) are never used.
    """
    for kind in type(error).__mro__:
        if kind in HANDLED:
            reason, words = HANDLED[kind]
            break
    else:
        reason, words = Reason.INTERNAL, f"the ssh library raised {type(error).__name__}"
    said = detail if detail is not None else _said(error)
    kind_of_fault = Passing if reason is Reason.UNREACHABLE and _passes(error) else Fault
    return kind_of_fault(reason, f"{server}: {words}" + (f" ({said})" if said else ""))


def _passes(error: BaseException) -> bool:
    if isinstance(error, socket.gaierror):
        return error.errno not in _LASTING
    return isinstance(error, _PASSING)


def _said(error: BaseException) -> str:
    if isinstance(error, paramiko.AuthenticationException):
        return ""
    if isinstance(error, OSError):
        return error.strerror or ""
    if isinstance(error, paramiko.ChannelException):
        return str(error.text)
    if isinstance(error, paramiko.SSHException):
        return str(error)[:200]
    return ""
