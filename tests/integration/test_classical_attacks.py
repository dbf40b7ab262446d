"""Attacks on words, switched while a link runs: each is named by a node, no key is wrong, and the link recovers."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import LineLost, PeerRefused
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.eve.classical_attacks.base import Chain
from qkdlink.eve.classical_attacks.catalogue import TREATMENTS, text_of, treatment_from
from qkdlink.eve.relay import ClassicalRelay
from qkdlink.lab.faults.agreement import NODES, Audit
from qkdlink.lab.faults.kill_trials import tiny_parameters
from tests.support.processes import Bench, bench, until

PATIENCE_S = 1.0
NAMED = {
    "delay:seconds=3": "has been silent for 1 s",
    "drop:every=3": "silent|bad record mac",
    "tamper:every=3": "bad record mac",
    "replay:every=3": "bad record mac",
    "reflect:every=3": "bad record mac",
    "cut:after_bytes=2000": "closed the connection",
    "show-certificate": "shows a certificate instead of proving the key",
}
"""What a node says of each attack."""


@dataclass
class Scene:
    """A link with Eve on its words, and what each attack has led to."""

    link: Bench
    chain: Chain
    said: dict[str, list[str]] = field(default_factory=dict)

    def told(self, name: str) -> list[str]:
        events = self.link.journal(name).events
        return [event.reason for event in events if isinstance(event, LineLost | PeerRefused)]

    @property
    def keys(self) -> int:
        return len(self.link.journal(ALICE).keys)

    async def suffer(self, text: str) -> None:
        """Attack until a node has said so, stop, and wait for the next key."""
        before = {name: len(self.told(name)) for name in NODES}

        def said() -> list[str]:
            return [sentence for name in NODES for sentence in self.told(name)[before[name] :]]

        self.chain.switch([treatment_from(text)])
        await until(lambda: _names(text, said()), f"a word of {text}")
        self.chain.switch([])
        self.said[text] = said()
        keys = self.keys
        await until(lambda: self.keys > keys, f"a key after {text}")


@asynccontextmanager
async def eve_on(link: Bench) -> AsyncIterator[Chain]:
    """Put her between Alice and Bob on both ports."""
    relay = ClassicalRelay()
    keyed, bootstrap = (Address(LOOPBACK, free_port()) for _ in range(2))
    link.change(ALICE, {"classical": {"address": str(keyed), "bootstrap_address": str(bootstrap)}})
    async with relay.listening(keyed, link.classical), relay.listening(bootstrap, link.bootstrap):
        yield Chain.on(relay)


@dataclass(frozen=True)
class Suffered:
    """What is left after all attacks."""

    said: dict[str, list[str]]
    faults: list[str]
    keys: int


async def ordeal(folder: Path) -> Suffered:
    async with (
        bench(folder, tiny_parameters(), blocks=0, backoff_first_s=0.01, backoff_longest_s=0.1) as link,
        eve_on(link) as chain,
    ):
        for name in (ALICE, BOB):
            link.change(name, {"classical": {"patience_s": PATIENCE_S}})
        scene = Scene(link, chain)
        bob, alice = link.start_here(BOB), link.start_here(ALICE)
        await until(lambda: scene.keys > 1, "the first keys")
        for text in NAMED:
            await scene.suffer(text)
        await alice.stop()
        await bob.stop()
        return Suffered(scene.said, list(Audit(link.home).faults()), scene.keys)


@pytest.fixture(scope="module")
def suffered(tmp_path_factory: pytest.TempPathFactory) -> Suffered:
    return asyncio.run(ordeal(tmp_path_factory.mktemp("words")))


def _names(text: str, said: list[str]) -> bool:
    return any(re.search(NAMED[text], sentence) for sentence in said)


@pytest.mark.parametrize("text", NAMED)
def test_an_attack_on_words_is_named_and_the_link_makes_keys_again(text: str, suffered: Suffered) -> None:
    assert _names(text, suffered.said[text])


def test_after_every_attack_on_words_no_key_is_wrong_and_none_was_used_twice(suffered: Suffered) -> None:
    assert not suffered.faults
    assert suffered.keys > len(NAMED)


async def test_an_imposture_at_the_bootstrap_ends_with_what_is_wrong_with_the_certificate(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, tiny_parameters()) as link, eve_on(link) as chain:
        chain.switch([treatment_from("show-certificate")])
        link.start_here(BOB)
        said = await link.start_here(ALICE).last_words()
        assert "certificate" in said
        assert not link.journal(ALICE).keys


def test_every_listed_attack_on_words_is_played_here() -> None:
    assert {text.partition(":")[0] for text in NAMED} == set(TREATMENTS)


@pytest.mark.parametrize("text", NAMED)
def test_a_text_names_an_attack_on_words_and_is_written_back(text: str) -> None:
    assert treatment_from(text_of(treatment_from(text))) == treatment_from(text)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("bribe", "no attack on words is called 'bribe'"),
        ("drop:every=0", "'every' = '0'"),
        ("drop:always", "write key=value"),
        ("delay:for=3", "'for', which is not a key here"),
        ("delay:seconds=nan", "'seconds' = 'nan'"),
    ],
)
def test_a_text_that_names_no_attack_on_words_is_refused_with_what_is_wrong(text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(wrong)):
        treatment_from(text)
