"""A bounded number of places, shared out between addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address


class Places:
    """At most `most` holders at once, and at most `most_of_one` of one address.

    When all places are taken, a newcomer gets the newest place of the address that holds the most,
    if that leaves the address no fewer places than the newcomer's. So nobody can keep out others.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._held: dict[object, tuple[str, Callable[[], object]]] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, address: str, holder: object, displace: Callable[[], object]) -> bool:
        """Take a place; return whether there was one.

        `displace`: called when another needs the place, which is then taken away.
        """
        if self._by_address[address] >= self._most_of_one:
            return False
        if len(self._held) >= self._most and not self._make_room(address):
            return False
        self._held[holder] = (address, displace)
        self._by_address[address] += 1
        return True

    def leave(self, holder: object) -> None:
        """Give a place back. Does nothing if it was taken away."""
        held = self._held.pop(holder, None)
        if held is not None:
            self._by_address -= Counter((held[0],))

    def _make_room(self, address: str) -> bool:
        busiest, most = self._by_address.most_common(1)[0]
        if most <= self._by_address[address] + 1:
            return False
        newest = next(one for one in reversed(self._held) if self._held[one][0] == busiest)
        displace = self._held[newest][1]
        self.leave(newest)
        displace()
        return True


def address_of(peername: object) -> str:
    """The address of a client, as limits count it; empty if it is unknown.

    An IPv4 address in IPv6 form becomes IPv4. Of IPv6 only the network counts, because one machine
    has as many addresses there as it likes.
    """
    if not isinstance(peername, tuple) or not peername:
        return ""
    host = str(peername[0]).partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if not address.is_loopback:
            return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
