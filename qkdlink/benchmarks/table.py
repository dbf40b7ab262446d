"""The table: every stage, measured one after the other, and what could not be measured here."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qkdlink.benchmarks import amplification, authentication, light, reconciliation, sifting, transport
from qkdlink.benchmarks.alternation import Stage
from qkdlink.deployment.brokers.broker import find_mosquitto


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each stage is given; the defaults keep the stages under two minutes."""

    pairs: int = 7
    """Runs of each contender that count."""
    pulses: int = 2**24
    naive_pulses: int = 2**21
    frame_pulses: int = light.FRAME_PULSES
    frames: int = 128
    sifted_pulses: int = 2**26
    """Pulses whose detections are sifted: about 5 % of them click."""
    reconciled_bits: int = 2**20
    reference_bits: int = 2**14
    """The reference searches every range in every exchange: a frame of 2^20 bits would take it an hour."""
    amplified_bits: int = 2**20
    transcript_bytes: int = 2**20
    transcripts: int = 64


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stage that this machine cannot measure, with the sentence that says why."""

    name: str
    reason: str


def measured(sizes: Sizes) -> Iterator[Stage | Skipped]:
    """Measure the stages in the order in which a key passes them."""
    stages: tuple[Callable[[], Stage | Skipped], ...] = (
        lambda: light.measure(sizes.pulses, sizes.naive_pulses, sizes.pairs),
        lambda: _transport(sizes),
        lambda: sifting.measure(sizes.sifted_pulses, sizes.pairs),
        lambda: reconciliation.measure(sizes.reconciled_bits, sizes.reference_bits, sizes.pairs),
        lambda: amplification.measure(sizes.amplified_bits, sizes.pairs),
        lambda: authentication.measure(sizes.transcript_bytes, sizes.transcripts, sizes.pairs),
    )
    for measure in stages:
        yield measure()


def _transport(sizes: Sizes) -> Stage | Skipped:
    if find_mosquitto() is None:
        return Skipped(
            "transport",
            "Mosquitto is not installed, and the embedded broker is not what this claim is about.",
        )
    return asyncio.run(transport.measure(sizes.frame_pulses, sizes.frames, sizes.pairs))
