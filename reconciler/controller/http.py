"""The one port of a long-running process: health, metrics, webhooks; beyond loopback only with a token."""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from reconciler.errors import SettingsInvalid

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("reconciler.http")

MAX_BODY = 25 * 1024 * 1024
"""Bytes of a request; forges send pushes of at most so many."""
THREADS = 4
CONNECTIONS = 64
IDLE_SECONDS = 30
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """What came in; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What goes out."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


def json_response(status: HTTPStatus, value: Mapping[str, Any]) -> Response:
    """A JSON object with a last newline, so that it reads well in a terminal too."""
    return Response(status, json.dumps(value, ensure_ascii=False).encode() + b"\n", "application/json")


def refusal(status: HTTPStatus, message: str) -> Response:
    """An error as the command line's JSON words it."""
    code = status.phrase.lower().replace(" ", "-")
    return json_response(status, {"error": {"code": code, "message": message, "hint": None, "details": {}}})


Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers. ``guarded``: only for whoever shows the token, where one is configured."""

    handler: Handler
    guarded: bool = True


class Listener:
    """Serves ``routes`` (method and path → route) at ``address``, ``host:port`` (port 0: any free one).

    Raises SettingsInvalid where it may not or cannot listen there; nothing listens before ``start``.
    """

    def __init__(self, address: str, routes: Mapping[tuple[str, str], Route], token: str | None) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._routes = dict(routes)
        self._token = token
        self._thread: threading.Thread | None = None
        if token is None and not _is_loopback(self._host):
            raise SettingsInvalid(
                f"listening on {address} would let anybody in: a token is needed beyond loopback",
                hint="set RECONCILER_TOKEN=env:NAME and the secret, or listen on 127.0.0.1",
            )

    def start(self) -> str:
        """Begin to listen; ``host:port`` as it is now."""
        from waitress.server import create_server

        try:
            self._server = create_server(
                self._answer,
                host=self._host,
                port=self._port,
                threads=THREADS,
                connection_limit=CONNECTIONS,
                channel_timeout=IDLE_SECONDS,
                max_request_body_size=MAX_BODY,
                ident=None,
            )
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) and error.strerror else "no such address"
            raise SettingsInvalid(
                f"cannot listen on {self._host}:{self._port}: {said}", hint="choose another RECONCILER_LISTEN"
            ) from error
        self._thread = threading.Thread(target=self._server.run, name="http", daemon=True)
        self._thread.start()
        return f"{self._host}:{self._server.effective_port}"

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._thread is None:
            return
        # the server's loop is not safe for other threads, so it is asked to close itself
        self._server.trigger.pull_trigger(self._close)
        self._thread.join(_STOP_SECONDS)
        self._server.task_dispatcher.shutdown(timeout=_STOP_SECONDS)

    def _close(self) -> None:
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        self._server.close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response = self._respond(environ)
        except Exception:
            log.exception("a request for %s failed", environ.get("PATH_INFO"))
            response = refusal(
                HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of reconciler; its log has the details"
            )
        headers = [("Content-Type", response.content_type), ("Content-Length", str(len(response.body)))]
        if response.status is HTTPStatus.UNAUTHORIZED:
            headers.append(("WWW-Authenticate", "Bearer"))
        headers.append(("Cache-Control", "no-store"))
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        return [response.body]

    def _respond(self, environ: WSGIEnvironment) -> Response:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        looked_for = "GET" if method == "HEAD" else method
        route = self._routes.get((looked_for, path))
        if route is None:
            allowed = [name for name, known in self._routes if known == path]
            if allowed:
                return refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {', '.join(allowed)}")
            return refusal(HTTPStatus.NOT_FOUND, f"there is nothing at {path}")
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and isinstance(value, str)
        }
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        if route.guarded and not self._admits(headers.get("authorization", "")):
            return refusal(HTTPStatus.UNAUTHORIZED, "show the token: Authorization: Bearer …")
        body = environ["wsgi.input"].read() if method == "POST" else b""
        return route.handler(Request(method, path, headers, body))

    def _admits(self, authorization: str) -> bool:
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        shown = hmac.compare_digest(given.strip().encode(), self._token.encode())
        return scheme.lower() == "bearer" and shown


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
