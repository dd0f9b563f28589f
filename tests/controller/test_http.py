"""The port: what answers, who may ask, and that it ends."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus

import pytest

from reconciler.controller.http import Listener, Request, Response, Route, json_response
from reconciler.errors import SettingsInvalid
from tests.services.process import free_port

Start = Callable[..., "Client"]


def echo(request: Request) -> Response:
    return json_response(HTTPStatus.OK, {"method": request.method, "body": request.body.decode()})


def broken(request: Request) -> Response:
    raise RuntimeError("hunter22")


ROUTES = {
    ("GET", "/open"): Route(echo, guarded=False),
    ("GET", "/guarded"): Route(echo),
    ("POST", "/hooks"): Route(echo, guarded=False),
    ("GET", "/broken"): Route(broken, guarded=False),
}


class Client:
    def __init__(self, address: str) -> None:
        self.host, _, port = address.rpartition(":")
        self.port = int(port)

    def __call__(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[Listener] = []

    def begin(token: str | None = None, address: str = "127.0.0.1:0") -> Client:
        made.append(Listener(address, ROUTES, token))
        return Client(made[-1].start())

    yield begin
    for listener in made:
        listener.stop()


def test_routes_answer_and_others_say_what_there_is(start: Start) -> None:
    ask = start()
    assert ask("GET", "/open")[0] == 200
    assert json.loads(ask("POST", "/hooks", b"text")[1]) == {"method": "POST", "body": "text"}
    assert ask("GET", "/nothing")[0] == 404
    status, text = ask("GET", "/hooks")
    assert (status, json.loads(text)["error"]["message"]) == (405, "/hooks takes POST")
    assert ask("HEAD", "/open") == (200, "")


def test_a_token_guards_what_is_not_open(start: Start) -> None:
    ask = start("t0ken")
    assert ask("GET", "/open")[0] == 200
    assert ask("GET", "/guarded")[0] == 401
    assert ask("GET", "/guarded", Authorization="Bearer wrong")[0] == 401
    assert ask("GET", "/guarded", Authorization="Basic t0ken")[0] == 401
    assert ask("GET", "/guarded", Authorization="Bearer t0ken")[0] == 200


def test_a_fault_inside_is_a_500_without_its_text(start: Start) -> None:
    status, text = start()("GET", "/broken")
    assert status == 500
    assert "hunter22" not in text


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "some.host:0"])
def test_nothing_listens_beyond_loopback_without_a_token(address: str) -> None:
    with pytest.raises(SettingsInvalid, match="a token is needed"):
        Listener(address, ROUTES, None)


def test_a_port_in_use_is_a_clear_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(SettingsInvalid, match="Address already in use"),
    ):
        Listener(f"127.0.0.1:{taken.getsockname()[1]}", ROUTES, None).start()


def test_it_ends_with_clients_still_connected() -> None:
    listener = Listener(f"127.0.0.1:{free_port()}", ROUTES, None)
    address = listener.start()
    host, _, port = address.rpartition(":")
    before = threading.active_count()
    with socket.create_connection((host, int(port))) as half:
        half.sendall(b"GET /open HT")
        listener.stop()
    assert threading.active_count() < before
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), timeout=5)
