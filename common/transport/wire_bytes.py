"""How many bytes a connection has carried, TLS and its handshake included, as the kernel counts them (Linux)."""

import socket
import struct

_COUNTS = struct.Struct("=QQ")
_COUNTS_AT = 120
"""`tcpi_bytes_acked` and `tcpi_bytes_received` of `struct tcp_info` (RFC 4898), in Linux since 4.1."""


def wire_bytes(line: socket.socket | None) -> int | None:
    """Count the TCP payload of both directions so far; None where the system does not tell, or the socket is gone."""
    option = getattr(socket, "TCP_INFO", None)
    if line is None or option is None:
        return None
    try:
        info = line.getsockopt(socket.IPPROTO_TCP, option, _COUNTS_AT + _COUNTS.size)
    except OSError:
        return None
    if len(info) < _COUNTS_AT + _COUNTS.size:
        return None
    return sum(_COUNTS.unpack_from(info, _COUNTS_AT)) or None
