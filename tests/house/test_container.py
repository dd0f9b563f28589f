"""What Dockerfile and compose.yaml promise, read from the files: no engine is needed to see that."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.controller.http import Listener, Route, json_response

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
INSTRUCTIONS = [
    (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
    for line in DOCKERFILE.splitlines()
    if line.strip() and not line.startswith("#")
]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in INSTRUCTIONS:
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def last(word: str) -> str:
    return [rest for one, rest in stages()[-1] if one == word][-1]


def test_the_image_has_two_stages_and_the_second_has_no_package_installer() -> None:
    assert len(stages()) == 2
    assert not any("pip" in rest for _, rest in stages()[1])


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    user, group = last("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0


def test_every_package_of_the_image_is_checked_by_its_hash() -> None:
    installs = [
        part
        for word, rest in INSTRUCTIONS
        if word == "RUN"
        for part in rest.split("&&")
        if "pip install" in part
    ]
    assert installs
    for install in installs:
        assert "--require-hashes" in install or ("--no-deps" in install and "--no-index" in install), install


def test_what_the_image_copies_exists_and_is_not_ignored() -> None:
    shown = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, rest in stages()[0]:
        if word == "COPY":
            for name in shlex.split(rest)[:-1]:
                assert name in shown, name
                assert (ROOT / name).exists(), name


@pytest.mark.parametrize("status", [HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE])
def test_its_health_check_is_what_the_port_answers(status: HTTPStatus) -> None:
    check = yaml.safe_load(last("HEALTHCHECK").partition("CMD ")[2])
    assert check[0] == "python"
    answer = Route(lambda request: json_response(status, {}), guarded=False)
    listener = Listener("127.0.0.1:0", {("GET", "/healthz"): answer}, None)
    # a proxy of the container's environment is for others
    environment = {"RECONCILER_LISTEN": listener.start(), "http_proxy": "http://127.0.0.1:1"}
    try:
        done = subprocess.run([sys.executable, *check[1:]], env=environment, capture_output=True, check=False)
    finally:
        listener.stop()
    assert (done.returncode == 0) == (status is HTTPStatus.OK)


def test_the_port_of_the_health_check_is_open_within_the_container_only() -> None:
    assert "RECONCILER_LISTEN=127.0.0.1:9187" in last("ENV")
    for name in ("controller", "worker"):
        assert SERVICES[name]["environment"]["RECONCILER_LISTEN"] == "127.0.0.1:9187"


def test_every_command_of_compose_is_known_to_the_program() -> None:
    from reconciler.cli.main import COMMANDS

    for name in ("migrate", "controller", "worker"):
        assert SERVICES[name]["command"][0] in COMMANDS


def test_ports_are_open_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_password_stands_in_the_compose_file() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if name.endswith("PASSWORD") and name != "MYSQL_RANDOM_ROOT_PASSWORD":
                assert value.startswith("${"), name
            for login in re.findall(r"://[^/@:]*:([^@]*)@", value):
                assert login.startswith("${RECONCILER_DB_PASSWORD:?"), name


@pytest.mark.parametrize("name", ["mysql", "redis"])
def test_what_the_program_waits_for_says_when_it_is_healthy(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]


def test_the_schema_is_upgraded_once_before_anyone_works_with_it() -> None:
    assert SERVICES["migrate"]["command"] == ["db", "upgrade"]
    assert SERVICES["migrate"]["depends_on"] == {"mysql": {"condition": "service_healthy"}}
    for name in ("controller", "worker"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_every_named_volume_and_dependency_exists() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith(("$", ".", "/")) or source in COMPOSE["volumes"], volume
