"""Which unfinished connection gives way when there are too many: never the honest one by rule.

The oldest is the wrong one: on a long line an honest handshake is older than those of a flood. Of the source address
that holds the most places, one of the older half gives way, drawn at random. So a flood from one address displaces
itself, and an address from which the peer was accepted before keeps places that no other address can take. A flood from
the peer's own address, or from very many, displaces the peer only if it fills half of the places within one handshake,
and then only by chance.
"""

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from ipaddress import IPv6Address, ip_address

_KNOWN_SOURCES = 8
RESERVED_PLACES = 8
"""For each address from which a peer has been accepted."""
_SITE_BITS = 64
"""Of an IPv6 address: whoever has one has all that begin alike (RFC 4291, section 2.5.1)."""


def source_of(host: str) -> str:
    """Return what stands for the owner of an address: an IPv4 address, or the network of an IPv6 address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> _SITE_BITS << _SITE_BITS))


class KnownSources:
    """The latest addresses from which a peer was accepted."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, None] = OrderedDict()

    def add(self, source: str) -> None:
        """Remember an address, and forget the one that was accepted longest ago if there are too many."""
        self._sources[source] = None
        self._sources.move_to_end(source)
        if len(self._sources) > _KNOWN_SOURCES:
            self._sources.popitem(last=False)

    def __contains__(self, source: str) -> bool:
        return source in self._sources


class Places[K: Hashable]:
    """A limited number of places for unfinished connections."""

    def __init__(
        self, limit: int, known: KnownSources, draw: Callable[[Sequence[K]], K] = secrets.choice
    ) -> None:
        self._limit = limit
        self._known = known
        self._draw = draw
        self._holders: dict[K, str] = {}

    def take(self, key: K, source: str) -> K | None:
        """Give a connection a place; return the connection that loses its place for it, if one has to."""
        self._holders[key] = source
        if len(self._holders) <= self._limit:
            return None
        candidates = self._candidates(key)
        victim = self._draw(candidates[: (len(candidates) + 1) // 2])
        del self._holders[victim]
        return victim

    def leave(self, key: K) -> None:
        """Free the place of a connection, if it still has one."""
        self._holders.pop(key, None)

    def clear(self) -> list[K]:
        """Free all places and return who had them."""
        holders = list(self._holders)
        self._holders.clear()
        return holders

    def _candidates(self, newest: K) -> list[K]:
        """Return the connections of the sources that hold the most places beyond their reserve, oldest first."""
        held = Counter(self._holders.values())
        others = {key: source for key, source in self._holders.items() if key != newest}
        load = {
            source: held[source] - (RESERVED_PLACES if source in self._known else 0)
            for source in others.values()
        }
        heaviest = max(load.values())
        return [key for key, source in others.items() if load[source] == heaviest]
