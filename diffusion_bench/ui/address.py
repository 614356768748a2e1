"""The address that the app is served at: who can reach it, and which port is free."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

LOOPBACK_NAMES = ("localhost", "")


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
