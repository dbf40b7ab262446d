"""Whole links over a real broker and real TLS, one per scheme: after the bootstrap it authenticates every block."""

from pathlib import Path
from typing import Any

import pytest

from common.authentication.scheme import SchemeName
from common.journal.events import EpochBegan
from lab.home import ALICE, BOB
from tests.support.processes import Bench, bench, small_parameters, until

SMALL = small_parameters(pulses=100_000)


def authenticated(scheme: SchemeName) -> dict[str, Any]:
    return {"authentication": {"scheme": scheme}}


async def both_done(link: Bench, scheme: SchemeName) -> tuple[str | None, str | None]:
    """Run both nodes until Alice has made her blocks and Bob has settled them; return their fingerprints."""
    bob, alice = (link.start_here(name, **authenticated(scheme)) for name in (BOB, ALICE))
    await alice.task
    await until(lambda: len(link.journal(BOB).blocks) == len(link.journal(ALICE).blocks), "Bob's last block")
    await bob.stop()
    return alice.fingerprint, bob.fingerprint


@pytest.mark.parametrize("scheme", SchemeName)
async def test_a_link_makes_keys_under_every_scheme(tmp_path: Path, scheme: SchemeName) -> None:
    async with bench(tmp_path / "home", SMALL, blocks=3, blocks_in_flight=1, rekey_blocks=1) as link:
        alices, bobs = await both_done(link, scheme)
        assert alices == bobs is not None
        for name in (ALICE, BOB):
            journal = link.journal(name)
            assert len(journal.keys) == 3
            assert [ended.authenticated_by for ended in journal.blocks.values()] == [
                "certificate-signature",
                scheme,
                scheme,
            ]
            assert [began.epoch for began in journal.of(EpochBegan)] == [0, 1, 2]
