"""What a finished run of a link has to show, for people and for programs."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import IntEnum
from typing import Any

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import AttackTally, BlockEnded, EpochBegan
from qkdlink.common.store.ledger import Balance
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE
from qkdlink.deployment.launching.link_run import NOBODY, LinkRun, Observer
from qkdlink.deployment.launching.running_link import RunningLink, run_link
from qkdlink.deployment.stolen.theft import Impersonation, impersonation


class Outcome(IntEnum):
    """What a run comes to, as an exit status; 2 is an error, of which there is no result."""

    KEYS_EQUAL = 0
    """Both ends hold the same keys, and Eve, if she was there, knows of none that she has followed."""
    NO_KEY = 1
    """No block was confirmed, or the keys differ."""
    EVE_KNOWS = 3
    """There are keys, and Eve has one of them or knows a part of it."""


@dataclass(frozen=True, slots=True)
class LinkResult:
    """What a finished run has to show; `as_json` is the contract of `qkdlink demo --json`."""

    link: RunningLink
    seconds: float
    balance: Balance
    """Of Alice's ledger, as her node has told it."""
    anchor: str
    """Which one the bootstrap went back to, in this run or in an earlier one."""
    attacks: tuple[str, ...] = ()
    """With which Eve has begun on the quantum channel."""
    treatments: tuple[str, ...] = ()
    """With which she has begun on the classical channel."""
    impersonation: Impersonation | None = None
    """What came of it that she took both nodes' places; None where she did not."""

    @property
    def secret_bits(self) -> int:
        """Secret bits of all confirmed blocks."""
        return self.link.alice.told.totals.secret_bits

    @property
    def keys_equal(self) -> bool:
        """Whether there are keys and both processes hold the same ones."""
        alice, bob = self.link.alice, self.link.bob
        return self.secret_bits > 0 and alice.fingerprint is not None and alice.fingerprint == bob.fingerprint

    @property
    def outcome(self) -> Outcome:
        """What the run comes to, as the exit status of `qkdlink demo`."""
        if self.eve_knows:
            return Outcome.EVE_KNOWS
        return Outcome.KEYS_EQUAL if self.keys_equal else Outcome.NO_KEY

    @property
    def eve_knows(self) -> bool:
        """Whether Eve has a key that a node holds, or knows of one."""
        learnt = self.link.state.eve.learnt
        if self.impersonation is not None and self.impersonation.she_won:
            return True
        return any(each.key_recovered or each.key_undetermined is False for each in learnt)

    @property
    def tallies(self) -> list[AttackTally]:
        """On how much each of Eve's attacks has acted; empty where she could not say so at her end."""
        return list(self.link.state.eve.tallies)

    def as_json(self) -> dict[str, Any]:
        """Return the result as the object that `--json` prints."""
        alice, bob = self.link.alice, self.link.bob
        return {
            "keys_equal": self.keys_equal,
            "secret_bits": self.secret_bits,
            "fingerprint_alice": alice.fingerprint,
            "fingerprint_bob": bob.fingerprint,
            "broker": self.link.broker.kind,
            "processes": {"alice": alice.process.pid, "bob": bob.process.pid},
            "seconds": round(self.seconds, 3),
            "blocks": [_block(block) for block in sorted(alice.told.ended, key=lambda block: block.number)],
            "epochs": _epochs(alice.told.epochs),
            "bootstrap": self._bootstrap(),
            "unauthenticated": self.balance.unauthenticated,
            "ledger": _ledger(self.balance),
            **self._eve(),
        }

    @property
    def key_recovered(self) -> bool:
        """Whether Eve came to every key that both nodes hold: her fingerprint is theirs."""
        eve = self.link.eve
        return self.keys_equal and eve is not None and eve.fingerprint == self.link.alice.fingerprint

    @property
    def key_undetermined(self) -> bool | None:
        """Whether every key that Eve has followed is undetermined for her; None if she has followed none."""
        learnt = self.link.state.eve.learnt
        verdicts = [each.key_undetermined for each in learnt if each.key_undetermined is not None]
        return all(verdicts) if verdicts else None

    @property
    def known_fraction_of_sifted(self) -> float | None:
        """Share of all sifted bits of the key basis that Eve knows for sure; None if she has followed none."""
        learnt = self.link.state.eve.learnt
        total = sum(each.sifted_bits for each in learnt)
        known = sum(each.sifted_bits * each.known_fraction_of_sifted for each in learnt)
        return known / total if total else None

    def _eve(self) -> dict[str, Any]:
        """Say what Eve has come to; nothing at all where she was not there."""
        if self.link.eve is None:
            return {}
        return {
            "eve": {
                "attacks": list(self.attacks),
                "treatments": list(self.treatments),
                "acted": [tally.model_dump(mode="json", exclude={"type"}) for tally in self.tallies],
                "known_fraction_of_sifted": self.known_fraction_of_sifted,
                "key_recovered": self.key_recovered,
                "impersonation": None if self.impersonation is None else asdict(self.impersonation),
                "key_undetermined": self.key_undetermined,
                "ended": self.link.eve.gone,
            }
        }

    def _bootstrap(self) -> dict[str, Any]:
        """Say what the bootstrap cost; null where the latch is still open, or had closed before this run."""
        closed = self.link.alice.told.bootstrap
        return {
            "anchor": self.anchor,
            "seconds": closed and round(closed.seconds, 4),
            "bytes": closed and closed.bytes,
            "blocks": closed and closed.blocks,
        }


_UNTOLD = {
    "type",
    "number",
    "detail",
    "exchanges",
    "classical_bytes",
    "authentication_bytes",
    "authentication_seconds",
}


def _ledger(balance: Balance) -> dict[str, Any]:
    return {
        "produced_bits": balance.produced_bits,
        "leaked_bits": balance.leaked_bits,
        "authentication_bits": balance.authentication_bits,
        "psk_bits": balance.psk_bits,
        "available_bits": balance.available_bits,
        "net_gain_per_block": balance.net_gain_per_block,
    }


def _block(block: BlockEnded) -> dict[str, Any]:
    return block.model_dump(mode="json", exclude=_UNTOLD)


def _epochs(began: Iterable[EpochBegan]) -> list[dict[str, Any]]:
    """List each epoch once: a line that was lost and dialled again within it is no new one."""
    fields = {"epoch", "authenticated_by", "tls_version", "key_id"}
    by_key = {(each.epoch, each.key_id): each.model_dump(mode="json", include=fields) for each in began}
    return list(by_key.values())


async def run_to_the_end(home: LinkHome, run: LinkRun, observer: Observer = NOBODY) -> LinkResult:
    """Run a link until all blocks are done; with something stolen Eve takes both nodes' places from the start."""
    started = time.monotonic()
    async with run_link(home, replace(run, impersonates=run.stolen is not None), observer) as link:
        await link.until_done()
    seconds = time.monotonic() - started
    levels = link.alice.told.key_levels
    if levels is None:
        raise LinkError("alice has ended without telling what her key store holds: run the link again.")
    eve = {} if run.eve is None else run.eve
    return LinkResult(
        link,
        seconds,
        Balance.told(ALICE, levels),
        levels.anchor or str(run.security.anchor),
        tuple(eve.get("attacks", ())),
        tuple(eve.get("treatments", ())),
        None if run.stolen is None else impersonation(home, link.alice.told.ended, link.bob.told.ended),
    )
