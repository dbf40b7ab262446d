"""A frame carries the state of every pulse that Alice's source emits, and nothing it could be made from again."""

import asyncio
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from qkdlink.alice.transmitter import MqttTransmitter
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.optics.source import Source
from qkdlink.common.optics.states import POLARISATIONS, States, photon_numbers, polarisations
from qkdlink.common.protocol.account import Account
from qkdlink.common.protocol.block import Block
from qkdlink.common.protocol.conversation import BlockConversation
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from qkdlink.common.randomness import Randomness
from qkdlink.common.transport.light import LightOutlet
from qkdlink.common.wire.pulse_frames import FrameHeader, split
from tests.support.processes import small_parameters

FALSE_ALARM = 1e-6
"""Of each test, at most."""
FRAME_PULSES, WHOLE_FRAMES, REST = 2**18, 4, 1000
PULSES = WHOLE_FRAMES * FRAME_PULSES + REST
LAGS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 4096)
SESSION = "ab" * 16
ENVELOPE_BYTES, PREAMBLE_BYTES, TAG_BYTES = 40, 32, 16
PARAMETERS = small_parameters(pulses=30_000).model_copy(
    update={
        "protocol": TWO_DECOY.name,
        "block_pulses": PULSES,
        "intensities": (0.5, 0.1, 0.0),
        "probabilities": (0.5, 0.25, 0.25),
        "key_basis_probability": 0.75,
        "tolerated_qber": None,
    }
)


@dataclass
class Tray:
    """Stands for an outlet: keeps what would be published."""

    payloads: list[bytes] = field(default_factory=list)

    async def send(self, header: FrameHeader, *sealed: bytes) -> None:
        self.payloads.append(b"".join((header.encode(), *sealed)))

    async def drain(self) -> None:
        return

    def clear(self) -> None:
        return


@dataclass(frozen=True)
class Opened:
    """A frame at Bob: what travelled in clear, and the light."""

    payload: bytes
    header: FrameHeader
    sealed: bytes
    train: PulseTrain
    states: States


def transmitted(seal: LightSeal, number: int = 1, seed: int = 1) -> list[Opened]:
    """Let Alice's apparatus send a block, and open its frames as Bob's does."""
    key, tray = bytes(32), Tray()
    block = Block(
        id=BlockId("link-1", SESSION, number),
        parameters=PARAMETERS,
        conversation=cast("BlockConversation", None),
        randomness=Randomness("alice", seed),
        compute=asyncio.to_thread,
        tell=lambda _: None,
        account=Account(),
    )
    asyncio.run(MqttTransmitter(cast("LightOutlet", tray), seal, FRAME_PULSES).transmit(block))
    bob, frames = LightSeal(key, "bob"), []
    for payload in tray.payloads:
        header, clear, sealed = split(payload)
        train = bob.unseal(sealed, clear)
        frames.append(Opened(payload, header, bytes(sealed), train, train.absorb()))
    return frames


def alices_seal() -> LightSeal:
    return LightSeal(bytes(32), "alice")


@pytest.fixture(scope="module")
def blocks() -> list[list[Opened]]:
    """Two blocks of one run, and one of another."""
    seal = alices_seal()
    return [transmitted(seal, 1), transmitted(seal, 2), transmitted(seal, 1, seed=2)]


@pytest.fixture(scope="module")
def states(blocks: list[list[Opened]]) -> States:
    """The light of the first two blocks, in order."""
    return np.concatenate([frame.states for block in blocks[:2] for frame in block])


def model(source: Source) -> NDArray[np.float64]:
    """Probability of each state: `float64[256]`."""
    number = sum(
        share * stats.poisson(mean).pmf(np.arange(32))
        for share, mean in zip(source.probabilities, source.intensities, strict=True)
    )
    direction = np.zeros(POLARISATIONS)
    direction[[0, 4]] = source.key_basis_probability / 2
    direction[[2, 6]] = (1 - source.key_basis_probability) / 2
    return np.outer(number, direction).ravel()


LIKELY = model(PARAMETERS.source)
_INFORMATION = -np.log2(LIKELY, where=LIKELY > 0, out=np.zeros(256))
ENTROPY = float(LIKELY @ _INFORMATION)
DEVIATION = float(LIKELY @ (_INFORMATION - ENTROPY) ** 2) ** 0.5
"""Of the information of one pulse about its mean, which is the entropy: 2 to 3 bits."""


def test_a_frame_has_one_byte_per_pulse_and_as_much_besides_whatever_it_carries(
    blocks: list[list[Opened]],
) -> None:
    clear = 50 + len("link-1")
    for block in blocks:
        assert [len(frame.states) for frame in block] == [FRAME_PULSES] * WHOLE_FRAMES + [REST]
        for frame in block:
            beside = len(frame.payload) - len(frame.states)
            assert beside == clear + ENVELOPE_BYTES + PREAMBLE_BYTES + TAG_BYTES


def test_every_field_beside_the_states_is_known_before_the_light_is(blocks: list[list[Opened]]) -> None:
    counter, boot_id = 0, blocks[0][0].sealed[16:32]
    for number, block in zip((1, 2, 1), blocks, strict=True):
        for sequence, frame in enumerate(block):
            first = sequence * FRAME_PULSES
            assert frame.header == FrameHeader(
                "link-1", SESSION, number, sequence, len(block), first, len(frame.states)
            )
            envelope = b"\1" + b"alice".ljust(15, b"\0") + boot_id + counter.to_bytes(8)
            assert frame.sealed[:ENVELOPE_BYTES] == envelope
            assert (frame.train.first_pulse, frame.train.medium) == (first, PARAMETERS.fibre)
            assert frame.train.side is None
            counter += 1


def test_the_boot_id_has_no_part_in_the_light(blocks: list[list[Opened]]) -> None:
    again = transmitted(alices_seal())
    assert again[0].sealed[16:32] != blocks[0][0].sealed[16:32]
    for first, second in zip(blocks[0], again, strict=True):
        np.testing.assert_array_equal(first.states, second.states)


def test_states_are_as_frequent_as_the_source_is_set(states: States) -> None:
    expected, observed = len(states) * LIKELY, np.bincount(states, minlength=256)
    assert not observed[expected == 0].any()
    often = expected >= 100
    pooled = np.append(observed[often], observed[~often].sum())
    assert stats.chisquare(pooled, np.append(expected[often], expected[~often].sum())).pvalue > FALSE_ALARM


def test_a_pulse_has_the_entropy_that_the_model_gives_it(states: States) -> None:
    # Empirical entropy = mean information - divergence D, where 2 ln 2 n D is as chi-square with 255 degrees of freedom
    # at most. False alarm 2e-7 for the mean (5.2 deviations, two sides) and 1e-7 for the divergence.
    shares = np.bincount(states, minlength=256) / len(states)
    entropy = stats.entropy(shares, base=2)
    divergence = stats.chi2.isf(1e-7, 255) / (2 * np.log(2) * len(states))
    assert abs(entropy - ENTROPY) < 5.2 * DEVIATION / len(states) ** 0.5 + divergence
    assert entropy > 2


def test_no_pulse_tells_of_a_later_one(states: States) -> None:
    # Basis, bit and photon number against each other: nine correlations at each lag, each as normal as pulses are many
    # (2^21). Bonferroni over all of them, half the false alarm left for what the normal law neglects.
    polarisation = polarisations(states)
    told = np.stack([polarisation >> 1 & 1, polarisation >> 2, photon_numbers(states)]).astype(float)
    told = (told - told.mean(axis=1, keepdims=True)) / told.std(axis=1, keepdims=True)
    bound = stats.norm.isf(FALSE_ALARM / 2 / 2 / (9 * len(LAGS)))
    for lag in LAGS:
        deviations = told[:, :-lag] @ told[:, lag:].T / (len(states) - lag) ** 0.5
        assert np.abs(deviations).max() < bound, f"at lag {lag}"


def test_no_two_frames_agree_in_more_places_than_chance_lets_them(blocks: list[list[Opened]]) -> None:
    # Within a block, from block to block, from run to run; binomial, Bonferroni over all pairs.
    frames = [frame.states for block in blocks for frame in block]
    pairs = list(combinations(frames, 2))
    for one, other in pairs:
        length = min(len(one), len(other))
        agree = int((one[:length] == other[:length]).sum())
        assert stats.binom.sf(agree - 1, length, LIKELY @ LIKELY) > FALSE_ALARM / len(pairs)


@pytest.mark.parametrize("compressed", [zlib.compress, lzma.compress])
def test_light_is_not_told_in_fewer_bits_than_its_information(
    states: States, compressed: Callable[[bytes], bytes]
) -> None:
    # However a code is made, it undercuts the information of what it codes by k bits with probability 2^-k at most
    # (Kraft's inequality): 5e-7. That this information is itself 5 deviations low: 3e-7. lzma looks back over both
    # blocks, so that nothing repeated within 2 MiB escapes it.
    information = _INFORMATION[states].sum()
    assert 8 * len(compressed(states.tobytes())) > information - np.log2(2 / FALSE_ALARM)
    assert information > len(states) * ENTROPY - 5 * DEVIATION * len(states) ** 0.5
