"""An attacker empties the reserve: the link stops with its sentence, and an operator brings it back."""

import asyncio
from pathlib import Path

from qkdlink.commands.keys import bootstrap
from qkdlink.common.journal.events import BlockEnded, ReserveLow
from qkdlink.common.sentences import sentence
from qkdlink.common.wire.pulse_frames import FrameHeader
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.lab.faults.kill_trials import tiny_parameters
from qkdlink.lab.faults.ordeal import run_ordeal
from tests.support.light_proxy import LightProxy, pass_on
from tests.support.processes import Bench, bench, until

IMPATIENT = {
    "light_patience_s": 0.1,
    "backoff_first_s": 0.001,
    "backoff_longest_s": 0.002,
    "rekey_blocks": 1,
    "blocks_in_flight": 1,
}


async def swallow(_: FrameHeader, frame: bytes) -> list[bytes]:
    """No light comes through any more."""
    del frame
    return []


def schemes_of(link: Bench) -> list[str]:
    return [block.authenticated_by for block in link.journal(ALICE).of(BlockEnded) if block.secret_bits]


async def test_a_starved_link_stops_with_its_sentence_and_comes_back_by_an_operator_at_both_ends(
    tmp_path: Path,
) -> None:
    async with (
        bench(tmp_path / "home", tiny_parameters(), blocks=0, **IMPATIENT) as link,
        LightProxy(link.broker.address).open() as proxy,
    ):
        through = {"address": str(proxy.address)}
        bob = link.start_here(BOB)
        alice = link.start_here(ALICE, broker=through)
        await until(lambda: "wegman-carter" in schemes_of(link), "a block paid for with generated key")
        proxy.treat = swallow
        await asyncio.wait([alice.task], timeout=60)
        stopped = alice.task.exception()
        assert stopped is not None
        assert sentence(stopped).startswith("Link link-1 stops, because no generated key is left")
        told = link.journal(ALICE).of(ReserveLow)
        assert [low.blocks_payable for low in told] == sorted(
            (low.blocks_payable for low in told), reverse=True
        )
        assert told[-1].blocks_payable == 0
        made = len(schemes_of(link))

        await bob.stop()
        for name in (ALICE, BOB):
            bootstrap(link.home.node(name), again=True)
        proxy.treat = pass_on
        link.start_here(BOB)
        alice = link.start_here(ALICE, broker=through)
        await until(lambda: "wegman-carter" in schemes_of(link)[made:], "a block after the second bootstrap")
        assert schemes_of(link)[made] == "certificate-signature"
        await alice.stop()


async def test_a_link_survives_whatever_fails_around_it_at_random_instants() -> None:
    outcome = await run_ordeal(strikes=8, seed=5)
    assert outcome.faults == []
    assert outcome.keys > 0
    assert outcome.kills >= 4
