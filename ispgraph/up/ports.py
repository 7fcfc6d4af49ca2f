"""Ports on this machine."""

import errno
import secrets
import socket

# Below what Linux and macOS hand out to outgoing connections (from 32768 and 49152): there any client may take the
# port of a server while the server is being started again.
_SERVER_PORTS = range(20000, 32768)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1") -> int:
    """A port nobody listens on now, good for a test that uses it at once."""
    with socket.socket(_family(host), kind) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def server_port(kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1") -> int:
    """A free port to keep for years: no client gets it by chance."""
    while not is_free(port := secrets.choice(_SERVER_PORTS), kind, host):
        continue
    return port


def is_free(port: int, kind: socket.SocketKind = socket.SOCK_STREAM, host: str = "127.0.0.1") -> bool:
    """Could a server of ours listen on this port?"""
    return listen_problem(port, host, kind) is None


def listen_problem(port: int, host: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> str | None:
    """Why nobody can listen there now, in a few words for people; None when one can."""
    with socket.socket(_family(host), kind) as probe:
        if kind is socket.SOCK_STREAM:
            # As servers do: connections of the last run that linger in TIME_WAIT do not make a port busy.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return "another program uses it" if error.errno == errno.EADDRINUSE else str(error.strerror)
    return None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
