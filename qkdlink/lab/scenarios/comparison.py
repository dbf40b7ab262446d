"""The same link once per scheme and once per anchor: what each way of knowing costs, and what it survives.

What is measured comes from the run itself: bytes and seconds from Alice's accounts of the blocks after the bootstrap,
key bits from her ledger. What a scheme rests on, and what is left if that breaks later, is known and written down here.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import ConfigurationError, LinkError
from qkdlink.common.journal.events import BlockEnded
from qkdlink.common.keys.allotment import TAG_BITS, upkeep_bits
from qkdlink.common.optics.presets import DEFAULT_PRESET, preset
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.launching.link_result import LinkResult, run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.deployment.planning.planner import plan, smallest_block_with_key, task_for
from qkdlink.deployment.planning.prospect import Task

_REKEY_BLOCKS = 2
_PULSES = 100_000
"""Single photons: some ten thousand secret bits, in a fraction of a second."""
_EFFICIENCIES, _BLOCK_PULSES = (0.5, 0.1), (10**6, 10**7, 10**8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What something rests on."""

    rests_on: str
    kind: str
    """information-theoretic, computational, or nothing."""
    quantum_safe: bool
    """Whether it is believed to withstand a quantum computer."""
    broken_later: str
    """What remains if it is broken after the keys were made."""


_SHUT = "keys made before stay shut; tags made from then on can be forged"
_WINDOW = "nothing opens: it had to hold only until the latch closed"

SCHEMES: dict[SchemeName, Basis] = {
    SchemeName.WEGMAN_CARTER: Basis(
        rests_on="generated bits, each used once",
        kind="information-theoretic",
        quantum_safe=True,
        broken_later="there is nothing to break",
    ),
    SchemeName.HMAC_SHA256: Basis(
        rests_on="SHA-256; 256 generated bits, expanded",
        kind="computational",
        quantum_safe=True,
        broken_later=_SHUT,
    ),
    SchemeName.GMAC: Basis(
        rests_on="AES-256; 256 generated bits, expanded",
        kind="computational",
        quantum_safe=True,
        broken_later=_SHUT,
    ),
    SchemeName.ED25519: Basis(
        rests_on="discrete logarithms on Curve25519",
        kind="computational",
        quantum_safe=False,
        broken_later=_SHUT,
    ),
    SchemeName.ML_DSA_65: Basis(
        rests_on="module lattices (FIPS 204)", kind="computational", quantum_safe=True, broken_later=_SHUT
    ),
    SchemeName.NONE: Basis(
        rests_on="the TLS line alone: SHA-256 and its ciphers",
        kind="computational",
        quantum_safe=True,
        broken_later="keys made before stay shut; whatever is said from then on can be forged",
    ),
}
ANCHORS: dict[AnchorName, Basis] = {
    AnchorName.PKI: Basis(
        rests_on="authorities; ECDSA on P-256",
        kind="computational",
        quantum_safe=False,
        broken_later=_WINDOW,
    ),
    AnchorName.PSK: Basis(
        rests_on="a secret carried by hand; SHA-256",
        kind="computational",
        quantum_safe=True,
        broken_later=_WINDOW,
    ),
    AnchorName.WEB_OF_TRUST: Basis(
        rests_on="introducers; OpenPGP signatures; ECDSA on P-256",
        kind="computational",
        quantum_safe=False,
        broken_later=_WINDOW,
    ),
    AnchorName.NONE: Basis(
        rests_on="nothing",
        kind="nothing",
        quantum_safe=False,
        broken_later="whoever was in the middle has the keys already",
    ),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One run, and what is looked at in it."""

    compared: str
    """"scheme" or "anchor": what `basis` is about."""
    security: Security
    basis: Basis
    result: LinkResult

    def as_json(self) -> dict[str, Any]:
        """Return the row as `--json` prints it; per-block values are medians over the blocks after the bootstrap."""
        later = self._later_blocks()
        balance = self.result.balance
        return {
            "compared": self.compared,
            "anchor": str(self.security.anchor),
            "scheme": str(self.security.scheme),
            "keys_equal": self.result.keys_equal,
            "bootstrap": self.result.as_json()["bootstrap"],
            "bootstrap_authenticated_by": self.result.link.alice.told.ended[0].authenticated_by,
            "authenticated_by": later[-1].authenticated_by,
            "bytes_per_block": median(block.classical_bytes for block in later),
            "authentication_bytes_per_block": median(block.authentication_bytes for block in later),
            "authentication_bits": balance.authentication_bits,
            "authentication_bits_per_block": balance.authentication_bits / len(later),
            "psk_bits": balance.psk_bits,
            "milliseconds_per_block": median(1000 * block.seconds for block in later),
            "authentication_milliseconds_per_block": median(
                1000 * block.authentication_seconds for block in later
            ),
            "rests_on": self.basis.rests_on,
            "kind": self.basis.kind,
            "quantum_safe": self.basis.quantum_safe,
            "broken_later": self.basis.broken_later,
        }

    def _later_blocks(self) -> list[BlockEnded]:
        blocks = sorted(self.result.link.alice.told.ended, key=lambda block: block.number)
        epochs = {epoch.session for epoch in self.result.link.alice.told.epochs if epoch.epoch > 0}
        later = [block for block in blocks if block.block_id.split("/")[1] in epochs and block.secret_bits]
        if not later:
            raise LinkError(
                f"The run with {self.security.anchor} and {self.security.scheme} made no key after its bootstrap."
            )
        return later


async def compare(blocks: int = 6) -> AsyncIterator[Row]:
    """Run the link with each scheme behind certificates, and with each anchor before the default scheme."""
    default = Security()
    done: dict[Security, LinkResult] = {}
    wanted = [("scheme", replace(default, scheme=scheme), basis) for scheme, basis in SCHEMES.items()]
    wanted += [("anchor", replace(default, anchor=anchor), basis) for anchor, basis in ANCHORS.items()]
    for compared, security, basis in wanted:
        if security not in done:
            done[security] = await run_once(security, blocks)
        yield Row(compared, security, basis, done[security])


async def run_once(security: Security, blocks: int) -> LinkResult:
    """Run the link that is compared, once, in a home of its own."""
    task = task_for(preset(DEFAULT_PRESET), _PULSES, SINGLE_PHOTON.name)
    with tempfile.TemporaryDirectory(prefix="qkdlink-") as folder:
        return await run_to_the_end(
            open_home(Path(folder)),
            LinkRun(
                plan(task).link_parameters(),
                blocks=blocks,
                alice={"rekey_blocks": _REKEY_BLOCKS, "blocks_in_flight": 1},
                security=security,
            ),
        )


@dataclass(frozen=True, slots=True)
class Portion:
    """What Wegman-Carter tags cost of the key that a block is expected to yield."""

    receiver_efficiency: float
    block_pulses: int
    secret_bits: int
    """0 where a block of this size is expected to yield no key."""
    authentication_bits: int

    @property
    def fraction(self) -> float | None:
        """Bits spent on tags, r included, per secret bit produced; None without a key."""
        return self.authentication_bits / self.secret_bits if self.secret_bits else None


def small_portion() -> Iterator[Portion]:
    """Plan blocks on the default preset, and once with a receiver of a fifth of its efficiency."""
    published = preset(DEFAULT_PRESET)
    for efficiency in _EFFICIENCIES:
        device = replace(published, detector=replace(published.detector, efficiency=efficiency))
        for pulses in _BLOCK_PULSES:
            yield Portion(efficiency, pulses, _expected_secret_bits(task_for(device, pulses)), 2 * TAG_BITS)


def _expected_secret_bits(task: Task) -> int:
    try:
        return plan(task).expected_secret_bits
    except ConfigurationError:
        return 0


def smallest_paying_block(scheme: SchemeName = SchemeName.WEGMAN_CARTER) -> int | None:
    """Return the pulses of the smallest block, on the default preset, that pays for itself but for one in 50."""
    task = task_for(preset(DEFAULT_PRESET), 1)
    return smallest_block_with_key(replace(task, least_secret_bits=upkeep_bits(tags=scheme.cuts_tags)))
