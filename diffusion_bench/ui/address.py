"""The address that the app is served at: who can reach it, by which names, which port is free."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_NAMES = ("localhost", "")
NOT_MINE = (
    "This app is its owner's alone: it answers to localhost and 127.0.0.1. With "
    "--auth USER:PASSWORD it is shared, under any name."
)


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach that address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host in LOOPBACK_NAMES


def free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0; raise ValueError where nothing can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]") or "127.0.0.1", port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            if os.name == "posix":  # on Windows it would take a port that is in use
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            return int(listener.getsockname()[1])
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"port {port} is in use, perhaps by another Diffusion Bench; choose another with "
                f"--port {port + 1 if port < 65535 else 7861}, or --port 0 for any"
            ) from None
        raise ValueError(f"cannot listen on {host}, port {port}: {error.strerror}") from None


class OwnNames:
    """ASGI middleware that answers where this machine is asked by a name of its own (else 403).

    A site may have its name lead to 127.0.0.1 (DNS rebinding): in the owner's browser its pages
    would be the owner. So would be whoever comes through a tunnel to an app that is not shared.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        app = self._app
        if scope["type"] == "http" and not is_loopback(_asked(Headers(scope=scope))):
            app = PlainTextResponse(NOT_MINE, 403)
        await app(scope, receive, send)


def _asked(headers: Headers) -> str:
    """Return the host that a request names, without its port; "?" for one that is none."""
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return "?"
