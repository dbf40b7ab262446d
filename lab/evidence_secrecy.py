"""No key that Eve knows enters a store: attacks below every threshold, block after block, each key checked.

Each case is an attack at a strength that lets keys be made, at a block size at which the same link makes a key
without her. Every key is put to the rank check (`lab.undetermined`), or, where her knowledge is probable, her
min-entropy has to pay for it. A case counts once it has made its hundred keys.
"""

from dataclasses import dataclass, replace
from typing import Any

from common.optics.outlet import Outlet
from common.optics.presets import DEFAULT_PRESET, preset
from common.protocol.parameters import LinkParameters, ProtocolName
from eve.quantum_attacks.catalogue import attack_from
from lab.block_with_eve import BlockWithEve, Hardware, live_block
from lab.planning import plan, task_for

KEYS_WANTED = 100
_TRIES = 4
"""Blocks per wanted key, at most."""
_KEYS_PER_PART = 20
_ALL_OF_IT = 10**9
_PARTS_PER_CASE = KEYS_WANTED // _KEYS_PER_PART


_PLAIN = Hardware()


@dataclass(frozen=True, slots=True)
class Case:
    """An attack at a strength below every threshold."""

    attack: str
    protocol: ProtocolName = ProtocolName.SINGLE_PHOTON
    pulses: int = 20_000
    distance_km: float = 0.0
    hardware: Hardware = _PLAIN

    @property
    def parameters(self) -> LinkParameters:
        """What Alice and Bob have agreed on."""
        task = task_for(preset(DEFAULT_PRESET), self.pulses, self.protocol, self.distance_km)
        return plan(task).link_parameters(reproducible=True)

    def block(self, seed: int, number: int, *, lengthened_by: int = 0) -> BlockWithEve:
        """Live one block with Eve, every monitor on."""
        chain = [attack_from(self.attack)]
        return live_block(
            self.parameters, chain, seed, number, hardware=self.hardware, lengthened_by=lengthened_by
        )


_PROBED = Hardware(outlet=Outlet(isolation_db=60.0, watchdog_photons=1e5), probe_photons=9e4)
CASES = (
    Case("intercept-resend:fraction=0.05"),
    Case("intercept-resend:fraction=0.03,bases=key"),
    Case("breidbart:fraction=0.04"),
    Case("intercept-resend:fraction=0.01", ProtocolName.TWO_DECOY, 500_000),
    Case("breidbart:fraction=0.01", ProtocolName.TWO_DECOY, 500_000),
    Case("photon-number-splitting:fraction=0.1", ProtocolName.TWO_DECOY, 500_000),
    Case("photon-number-splitting:fraction=0.1", ProtocolName.ONE_DECOY, 400_000),
    Case("beam-splitting", ProtocolName.TWO_DECOY, 1_000_000, 10.0),
    Case("unambiguous-state-discrimination:fraction=0.01", ProtocolName.TWO_DECOY, 500_000),
    Case("trojan-horse", hardware=_PROBED),
    # one touched click is enough for these two monitors: keys are made where Eve has stayed away
    Case("blinding:fraction=0.00002"),
    Case("time-shift:fraction=0.00005"),
    Case("jamming:fraction=0.02"),
    Case("jamming:fraction=0.001,kind=darkness", ProtocolName.TWO_DECOY, 500_000),
)
PARTS = len(CASES) * _PARTS_PER_CASE


def run_part(seed: int, part: int) -> dict[str, Any]:
    """Make twenty keys of one case, check each, and see the check fail on one whose amplification was shortened."""
    case, first = CASES[part % len(CASES)], 1 + part // len(CASES) * _KEYS_PER_PART * _TRIES
    honest = replace(case, attack="transparent", hardware=_PLAIN).block(seed, first)
    keys, blocks = 0, []
    for number in range(first, first + _KEYS_PER_PART * _TRIES):
        if keys == _KEYS_PER_PART:
            break
        blocks.append(case.block(seed, number))
        keys += blocks[-1].secret_bits > 0
    return {
        "attack": case.attack,
        "protocol": case.protocol.value,
        "pulses": case.pulses,
        "secret_bits_without_eve": honest.secret_bits,
        "blocks": len(blocks),
        "keys": keys,
        "unsafe": sum(not block.safe for block in blocks),
        "refused_by": sorted({block.refused_by for block in blocks if block.refused_by}),
        "largest_known_fraction": max((b.known_fraction for b in blocks if b.secret_bits), default=0.0),
        # elsewhere so much is to spare that the elimination would take minutes
        "shortened_is_caught": _is_caught(case, seed, first, blocks)
        if case.protocol is ProtocolName.SINGLE_PHOTON
        else None,
    }


def conclude(findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Pass if every case has made its keys, and none that Eve knows of."""
    cases = []
    for case in CASES:
        own = [
            each
            for each in findings
            if (each["attack"], each["protocol"]) == (case.attack, case.protocol.value)
        ]
        cases.append(
            {
                "attack": case.attack,
                "protocol": case.protocol.value,
                "pulses": case.pulses,
                "blocks": sum(each["blocks"] for each in own),
                "keys": sum(each["keys"] for each in own),
                "unsafe": sum(each["unsafe"] for each in own),
                "refused_by": sorted({reason for each in own for reason in each["refused_by"]}),
                "largest_known_fraction": max((e["largest_known_fraction"] for e in own), default=0.0),
            }
        )
    passed = all(
        each["keys"] == _KEYS_PER_PART
        and not each["unsafe"]
        and each["secret_bits_without_eve"]
        and each["shortened_is_caught"] is not False
        for each in findings
    )
    return {"passed": passed, "keys_per_case": KEYS_WANTED, "cases": cases}


def _is_caught(case: Case, seed: int, first: int, blocks: list[BlockWithEve]) -> bool:
    """Shorten the amplification of the first key by one bit more than is to spare: it has to be found unsafe."""
    number, fine = next((first + place, block) for place, block in enumerate(blocks) if block.secret_bits)
    too_much = _ALL_OF_IT if fine.check is None else fine.check.spare_bits + 1
    return not case.block(seed, number, lengthened_by=too_much).safe
