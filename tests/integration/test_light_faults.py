"""Light on a broker that loses, repeats, reorders, cuts, alters or keeps it: named, and never attenuation."""

import asyncio
import math
from pathlib import Path

import pytest

from qkdlink.common.journal.events import BlockEnded, LightFault
from qkdlink.common.optics.expectation import expected_statistics
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.transport.mqtt import BrokerAccess, connect
from qkdlink.common.wire.pulse_frames import FrameHeader
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.brokers.broker import find_mosquitto
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.names import ALICE, BOB
from tests.support.light_proxy import LightProxy
from tests.support.processes import ADMIN, Bench, Journal, bench, small_parameters, without_mosquitto

FRAMES = 4
UNTOUCHED, LOST, REPEATED, REORDERED, TRUNCATED, CUT_IN_HEADER, FLIPPED, FOREIGN, AFTERWARDS = range(1, 10)
VOID = {LOST, REORDERED, TRUNCATED, CUT_IN_HEADER, FLIPPED}
NAMES = {
    UNTOUCHED: [],
    LOST: ["lost"],
    REPEATED: ["repeated"],
    REORDERED: ["lost", "reordered"],
    TRUNCATED: ["truncated", "lost"],
    CUT_IN_HEADER: ["truncated", "lost"],
    FLIPPED: ["broken-seal", "lost"],
    FOREIGN: ["foreign", "foreign", "foreign", "broken-seal"],
    AFTERWARDS: [],
}
PARAMETERS = small_parameters(pulses=100_000)


class Saboteur:
    """One fault per block, at the second of its frames."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []

    async def treat(self, header: FrameHeader, frame: bytes) -> list[bytes]:
        kept, self._kept = self._kept, []
        if header.sequence != 1:
            return [frame, *kept]
        match header.block:
            case n if n == LOST:
                return []
            case n if n == REPEATED:
                return [frame, frame]
            case n if n == REORDERED:
                self._kept = [frame]
                return []
            case n if n == TRUNCATED:
                return [frame[: len(frame) // 2]]
            case n if n == CUT_IN_HEADER:
                return [frame[:20]]
            case n if n == FLIPPED:
                return [frame[:-1000] + bytes([frame[-1000] ^ 4]) + frame[-999:]]
            case n if n == FOREIGN:
                return [b"", b"not light at all", _moved_to_block(frame, 99), _in_another_place(frame), frame]
            case _:
                return [frame]


def _moved_to_block(frame: bytes, block: int) -> bytes:
    at = 6 + frame[5] + 16
    return frame[:at] + block.to_bytes(8) + frame[at + 8 :]


def _in_another_place(frame: bytes) -> bytes:
    at = 6 + frame[5] + 24
    return frame[:at] + (2).to_bytes(4) + frame[at + 4 :]


async def _sabotaged(folder: Path) -> None:
    async with (
        bench(
            folder,
            PARAMETERS,
            blocks=AFTERWARDS,
            blocks_in_flight=1,
            frame_pulses=PARAMETERS.block_pulses // FRAMES,
            light_patience_s=0.5,
            backoff_first_s=0.01,
            backoff_longest_s=0.1,
        ) as link,
        LightProxy(link.broker.address).open() as proxy,
    ):
        proxy.treat = Saboteur().treat
        await _keep_a_frame_of_light(link)
        link.start_here(BOB)
        await link.start_here(ALICE, broker={"address": str(proxy.address)}).task


async def _keep_a_frame_of_light(link: Bench) -> None:
    """Have the broker hand Bob an old message the moment he subscribes."""
    account = (ADMIN.name, ADMIN.password) if link.broker.has_access_list else (None, None)
    async with connect(BrokerAccess(link.broker.address, "keeper", *account)) as bus:
        await bus.publish(
            Topics(link.home.link).light("site-a", "site-b"), b"QKDL and what was once light", retain=True
        )


@pytest.fixture(scope="module", params=["mosquitto", "amqtt"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a link on which every fault has happened, in a block of its own."""
    if request.param == "mosquitto" and find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path_factory.mktemp(request.param) / "home"
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "amqtt":
            without_mosquitto(patch)
        asyncio.run(_sabotaged(folder))
    return folder


def _blocks(folder: Path, name: str) -> dict[int, BlockEnded]:
    return {
        ended.number: ended for ended in Journal(LinkHome(folder).node(name) / "journal.jsonl").of(BlockEnded)
    }


@pytest.mark.parametrize("number", NAMES)
def test_bob_calls_each_fault_by_its_name_in_the_block_that_it_happens_to(folder: Path, number: int) -> None:
    faults = Journal(LinkHome(folder).node(BOB) / "journal.jsonl").during(number, LightFault)
    assert [fault.fault for fault in faults] == NAMES[number]
    assert all(fault.frames == 1 for fault in faults)


@pytest.mark.parametrize("number", sorted(VOID))
def test_a_block_that_lost_light_is_void_on_both_sides_and_counts_nothing(folder: Path, number: int) -> None:
    for name in (ALICE, BOB):
        ended = _blocks(folder, name)[number]
        assert ended.aborted == AbortReason.LIGHT_LOST
        assert (ended.secret_bits, ended.detections, ended.sifted_bits) == (0, 0, 0)
        assert ended.gains == {}


@pytest.mark.parametrize("number", sorted(NAMES.keys() - VOID))
def test_a_block_that_kept_its_light_makes_the_same_number_of_bits_on_both_sides(
    folder: Path, number: int
) -> None:
    alice, bob = _blocks(folder, ALICE)[number], _blocks(folder, BOB)[number]
    assert alice.aborted is None
    assert alice.secret_bits == bob.secret_bits > 0


@pytest.mark.parametrize("number", sorted(NAMES.keys() - VOID))
def test_no_fault_shows_in_the_gain_of_a_block_that_makes_key(folder: Path, number: int) -> None:
    # five standard deviations of a binomial count: a false alarm of 6e-7 per block
    expected = expected_statistics(
        PARAMETERS.source, PARAMETERS.fibre, PARAMETERS.detector, PARAMETERS.key_basis_probability
    ).gains[0]
    gain = _blocks(folder, ALICE)[number].gains["signal"]
    deviation = math.sqrt(expected * (1 - expected) / PARAMETERS.block_pulses)
    assert abs(gain - expected) < 5 * deviation


def test_a_retained_message_is_refused_as_such_before_any_light(folder: Path) -> None:
    events = Journal(LinkHome(folder).node(BOB) / "journal.jsonl").events
    first = next(event for event in events if isinstance(event, LightFault))
    assert first.fault == "retained"
    before = [event.type for event in events[: events.index(first)]]
    assert before == ["node-started", "key-levels"], "right after the node's start"
