"""Which unfinished connection gives way: what a flood can and cannot do to an honest one."""

import numpy as np
import pytest

from qkdlink.common.transport.shedding import RESERVED_PLACES, KnownSources, Places, source_of

LIMIT = 64
HONEST = "honest"


def places(*known: str, seed: int = 0) -> Places[object]:
    sources = KnownSources()
    for source in known:
        sources.add(source)
    drawn = np.random.Generator(np.random.PCG64(seed))
    return Places(LIMIT, sources, draw=lambda candidates: candidates[drawn.integers(len(candidates))])


def survives(held: Places[object], honest_source: str, flood: list[str]) -> bool:
    """Say whether an honest connection still has its place after a flood from these addresses."""
    for number in range(LIMIT):
        held.take(("before", number), flood[number % len(flood)])
    held.take(HONEST, honest_source)
    return HONEST not in [held.take(number, source) for number, source in enumerate(flood)]


@pytest.mark.parametrize(
    ("flood", "known"),
    [
        pytest.param(["198.51.100.1"] * 500, (), id="one address for ever"),
        pytest.param([f"198.51.100.{n % 16}" for n in range(500)], (), id="several addresses"),
        pytest.param([f"2001:db8::{n:x}" for n in range(500)], ("192.0.2.1",), id="very many addresses"),
        pytest.param(["192.0.2.1"] * (LIMIT // 2 - 1), (), id="its own address, for one handshake"),
    ],
)
def test_a_flood_never_displaces_an_honest_handshake(flood: list[str], known: tuple[str, ...]):
    assert all(survives(places(*known, seed=seed), "192.0.2.1", flood) for seed in range(5))


def test_a_long_flood_from_its_own_address_displaces_an_honest_handshake_only_by_chance():
    flood = ["192.0.2.1"] * LIMIT
    survivors = sum(survives(places(seed=seed), "192.0.2.1", flood) for seed in range(200))
    assert 30 < survivors < 120, "(1 - 1/32)^33 is 0.35: with the oldest first it would be none"


def test_an_address_that_is_known_has_no_more_than_its_reserve():
    held = places("192.0.2.1")
    for number in range(LIMIT):
        held.take(number, "192.0.2.1" if number < RESERVED_PLACES + 9 else f"198.51.100.{number}")
    dropped = [held.take(("more", number), f"203.0.113.{number}") for number in range(8)]
    assert all(isinstance(each, int) and each < RESERVED_PLACES + 9 for each in dropped)


def test_of_addresses_that_were_accepted_only_the_latest_are_known():
    known = KnownSources()
    for number in range(100):
        known.add(str(number))
        known.add("often")
    assert [number for number in range(100) if str(number) in known] == list(range(93, 100))
    assert "often" in known


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("a name", "a name"),
    ],
)
def test_who_owns_an_address(host: str, source: str):
    assert source_of(host) == source
