from __future__ import annotations

import importlib
import inspect
import pkgutil
import socket

import paramiko
import pytest

from reconciler.execute.ssh.faults import HANDLED, fault_of
from reconciler.model.execution import Reason

# Raised and caught within paramiko itself.
INNER = {"NeedRekeyException", "PipeTimeout", "BERException"}


def paramikos() -> list[type[BaseException]]:
    found: set[type[BaseException]] = set()
    for module in pkgutil.iter_modules(paramiko.__path__, "paramiko."):
        if module.name.rpartition(".")[2] in ("win_pageant", "win_openssh", "_winapi"):
            continue
        for _, member in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(member, BaseException) and member.__module__.startswith("paramiko"):
                found.add(member)
    return sorted(found, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", paramikos(), ids=lambda kind: kind.__name__)
def test_every_exception_of_paramiko_has_its_reason(kind: type[BaseException]) -> None:
    assert kind in HANDLED or kind.__name__ in INNER


def test_the_list_is_not_empty() -> None:
    assert len(paramikos()) >= 15


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), Reason.UNREACHABLE, "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), Reason.UNREACHABLE, "cannot be resolved"),
        (TimeoutError("timed out"), Reason.UNREACHABLE, "did not answer in time"),
        (EOFError(), Reason.UNREACHABLE, "closed the connection"),
        (paramiko.SSHException("Error reading SSH protocol banner"), Reason.UNREACHABLE, "protocol banner"),
        (paramiko.AuthenticationException("tried hunter22"), Reason.AUTH_FAILED, "refused the login"),
        (
            paramiko.ChannelException(1, "Administratively prohibited"),
            Reason.START_FAILED,
            "Administratively",
        ),
        (KeyError("hunter22"), Reason.INTERNAL, "KeyError"),
    ],
)
def test_the_nearest_ancestor_decides_and_secrets_stay_out(
    error: Exception, reason: Reason, words: str
) -> None:
    fault = fault_of(error, "db-1")
    assert fault.reason is reason
    assert words in fault.message
    assert fault.message.startswith("db-1: ")
    assert "hunter22" not in fault.message
