"""Names, routes, firewalls and ports: what a bare TCP connection tells, before anything is said on it."""

import asyncio
import errno
import socket
from dataclasses import dataclass
from enum import IntEnum

from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.diagnosis.causes import Obstacle
from qkdlink.deployment.diagnosis.findings import Finding

PATIENCE_S = 5.0
"""How long a machine may take to answer; a firewall that drops never does."""

BROKER = "the broker"


class Reach(IntEnum):
    """How far a connection came, the nearest last."""

    UNREACHABLE = 0
    """A router, or this machine, says that there is no way."""
    FORBIDDEN = 1
    """This machine may not send it."""
    SILENT = 2
    """No answer of any kind."""
    REFUSED = 3
    """A machine answers that nobody listens there."""
    OPEN = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere that this node dials: who should be there, and where."""

    who: str
    address: Address

    def __str__(self) -> str:
        return f"{self.who} at {self.address}"


async def check_name(place: Place) -> Finding:
    """Ask for the addresses of a host; one that is an address already needs no name service."""
    try:
        found = sorted({str(where[0]) for _, where in await _addresses(place.address)})
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no host name"
        return Finding.failed(
            Obstacle.NAME,
            f"the host name {place.address.host} of {place.who} cannot be resolved ({reason}): correct it in"
            " the configuration, or write the address itself",
        )
    where = ", ".join(found)
    return Finding.ok(where if where == place.address.host else f"{place.address.host} is {where}")


async def reach(address: Address, patience_s: float = PATIENCE_S) -> Reach:
    """Connect to every address of a host, hang up at once, and return the best that came of it."""
    found = await _addresses(address)
    return max(await asyncio.gather(*(_touch(family, where, patience_s) for family, where in found)))


def judge(place: Place, reached: Reach) -> Finding:
    """Say what a reach means for whoever wants to go there."""
    match reached:
        case Reach.OPEN:
            return Finding.ok(f"{place} can be reached")
        case Reach.REFUSED:
            return Finding.failed(
                Obstacle.BROKER if place.who == BROKER else Obstacle.PEER,
                f"the machine of {place} answers, but nobody listens on that port: start {place.who} there, or correct"
                " the port",
            )
        case Reach.SILENT:
            return Finding.failed(
                Obstacle.FIREWALL,
                f"nothing at all has come back from {place} in {PATIENCE_S:g} s: a firewall drops what is sent there"
                " (open the port), or no machine has this address",
            )
        case Reach.FORBIDDEN:
            return Finding.failed(
                Obstacle.FIREWALL,
                f"this machine's own firewall does not let anything out to {place}: open it",
            )
        case Reach.UNREACHABLE:
            return Finding.failed(
                Obstacle.ROUTE,
                f"there is no way to {place}: the network says that it cannot be reached, so correct the address, or"
                " the route, or switch that machine on",
            )


def judge_peer(keyed: tuple[Place, Reach], bootstrap: tuple[Place, Reach] | None) -> Finding:
    """Judge the peer's two ports together: what one of them answers tells more about the other.

    `bootstrap` is None where none is needed.
    """
    place, reached = keyed
    if bootstrap is None:
        return judge(place, reached)
    other, also = bootstrap
    closed = [each for each, how in (keyed, bootstrap) if how is Reach.SILENT]
    if len(closed) == 1:
        open_one = other if closed[0] is place else place
        return Finding.failed(
            Obstacle.FIREWALL,
            f"{open_one} answers, but nothing at all comes back from port {closed[0].address.port}: a firewall drops"
            " what is sent there, so open that port, too",
        )
    if reached is Reach.OPEN and also is Reach.REFUSED:
        return Finding.failed(
            Obstacle.KEY,
            f"{place.who} listens for keys only, at {place.address}: its bootstrap is closed and this node's is open,"
            " so run `qkdlink bootstrap --again` at both ends",
        )
    worst = min(keyed, bootstrap, key=lambda pair: pair[1])
    if worst[1] is Reach.OPEN:
        return Finding.ok(f"{place} and {other.address} can be reached")
    return judge(*worst)


def check_binding(addresses: list[Address]) -> Finding:
    """Ask whether this machine lets a program listen at these addresses."""
    if len(set(addresses)) < len(addresses):
        return Finding.failed(
            Obstacle.PORT,
            f"this node cannot listen twice at {addresses[0]}: give classical.bootstrap_address a port of its own",
        )
    for address in addresses:
        failure = _bind(address)
        if failure is not None:
            return Finding.failed(Obstacle.PORT, f"this node cannot listen at {address}: {failure}")
    return Finding.ok(f"nobody else listens at {' and '.join(map(str, addresses))}")


def _bind(address: Address) -> str | None:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return f"the host name {address.host} cannot be resolved; write 0.0.0.0 to listen everywhere"
    for family, *_, where in found:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as door:
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio does
                door.bind(where)
        except OSError as error:
            return _why_not(error)
    return None


def _why_not(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program has taken this port, so end that one or choose another port"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address, so write one of its own, or 0.0.0.0 for all of them"
        case errno.EACCES:
            return "ports below 1024 are for root, so choose a higher one"
        case _:
            return error.strerror or str(error)


type _SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


async def _addresses(address: Address) -> list[tuple[socket.AddressFamily, _SocketAddress]]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(family, where) for family, *_, where in found]


async def _touch(family: int, where: _SocketAddress, patience_s: float) -> Reach:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as line:
            line.setblocking(False)  # noqa: FBT003 - the socket's own interface
            async with asyncio.timeout(patience_s):
                await asyncio.get_running_loop().sock_connect(line, where)
    except TimeoutError:
        return Reach.SILENT
    except ConnectionRefusedError:
        return Reach.REFUSED
    except PermissionError:
        return Reach.FORBIDDEN
    except OSError:
        return Reach.UNREACHABLE
    return Reach.OPEN
