"""Whatever goes wrong in an attack of somebody's own is one sentence that names its class and its file."""

import asyncio
import threading
from typing import ClassVar

import numpy as np
import pytest

from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.states import Basis
from qkdlink.common.wire.pulse_frames import FrameFault, FrameHeader, FrameRefused
from qkdlink.eve.guarded import AttackError
from qkdlink.eve.mind import Mind
from qkdlink.eve.notebook import BlockNotes
from qkdlink.eve.quantum_attacks.base import EveTools
from qkdlink.eve.quantum_attacks.catalogue import attack_from
from tests.support.pair import small_block

PULSES, FIRST = 1000, 3000


class Unspeakable(Exception):  # noqa: N818 - it is somebody's own
    def __str__(self) -> str:
        raise RuntimeError


class Mine:
    name: ClassVar[str] = "mine"

    def __init__(self, what: str) -> None:
        self.what = what

    def touch(self, train: PulseTrain, tools: EveTools, notes: BlockNotes) -> PulseTrain:  # noqa: ARG002
        match self.what:
            case "raises":
                raise ValueError("I have\nmade a mistake")
            case "exits":
                raise SystemExit(0)
            case "unspeakable":
                raise Unspeakable
            case "no light":
                return 42  # type: ignore[return-value]
            case "too little":
                return PulseTrain(np.zeros(PULSES - 1, np.uint8), train.medium, FIRST)
            case "elsewhere":
                return PulseTrain(np.zeros(PULSES, np.uint8), train.medium, 0)
            case "wrong mask":
                return tools.bench.switch(train, np.ones(7, np.bool_))[0]
            case "dark":
                tools.bench.split(train, 0.5)
        return train


def treated(what: str) -> PulseTrain:
    mind = Mind(small_block(), seed=1)
    mind.switch([Mine(what)])
    header = FrameHeader("link-1", "5e" * 16, 1, 3, 5, FIRST, PULSES)
    return mind.treat(header, PulseTrain(np.zeros(PULSES, np.uint8), Fibre(10.0, 0.2, 0.01), FIRST))


WRONG = {
    "raises": "went wrong: ValueError: I have made a mistake",
    "exits": "went wrong: SystemExit: 0",
    "unspeakable": "went wrong: Unspeakable",
    "no light": "gives back what is no light but of type int",
    "too little": "gives back 999 pulses from 3000 for a frame of 1000 from 3000",
    "elsewhere": "gives back 1000 pulses from 0 for a frame of 1000 from 3000",
    "wrong mask": "went wrong: ",
    "dark": "gives back light that it has measured or passed on already",
}


@pytest.mark.parametrize("what", WRONG)
def test_what_goes_wrong_is_said_with_class_and_file(what: str) -> None:
    with pytest.raises(AttackError) as caught:
        treated(what)
    assert str(caught.value).startswith(f"the attack Mine in {__file__} {WRONG[what]}")
    assert "\n" not in str(caught.value)


def test_light_that_is_whole_goes_on() -> None:
    assert len(treated("nothing")) == PULSES


@pytest.mark.parametrize(
    ("first", "pulses", "fault"),
    [
        (FIRST, PULSES, FrameFault.REPEATED),
        (FIRST + PULSES - 1, PULSES, FrameFault.REPEATED),
        (FIRST - 1, PULSES, FrameFault.REPEATED),
        (0, 2 * FIRST, FrameFault.REPEATED),
        (FIRST + PULSES, small_block().block_pulses, FrameFault.FOREIGN),
        (2**40, PULSES, FrameFault.FOREIGN),
        (FIRST + PULSES, 0, FrameFault.FOREIGN),
        (FIRST + PULSES, small_block().block_pulses - FIRST - PULSES - 1, FrameFault.FOREIGN),
        (0, small_block().block_pulses, FrameFault.FOREIGN),
    ],
)
def test_a_frame_whose_place_is_taken_or_none_reaches_no_attack_and_no_page(
    first: int, pulses: int, fault: FrameFault
) -> None:
    mind = Mind(small_block(), seed=1)
    mind.switch([attack_from("intercept-resend")])

    def take(first: int, pulses: int) -> None:
        sequence = min(first, 1)  # the first frame, or the second of four
        light = PulseTrain(np.zeros(pulses, np.uint8), Fibre(10.0, 0.2, 0.01), first)
        mind.treat(FrameHeader("link-1", "5e" * 16, 1, sequence, 4, first, pulses), light)

    take(FIRST, PULSES)
    for _ in range(3):
        with pytest.raises(FrameRefused) as refused:
            take(first, pulses)
        assert refused.value.fault is fault
    assert repr(mind.notebook.notes(("5e" * 16, 1))) == "BlockNotes(1 pages, redacted)"
    take(FIRST - PULSES, PULSES)
    assert repr(mind.notebook.notes(("5e" * 16, 1))) == "BlockNotes(2 pages, redacted)"


async def test_what_she_has_noted_of_another_block_can_be_asked_for_while_an_attack_is_stuck() -> None:
    at_work, go_on = threading.Event(), threading.Event()

    class Stuck:
        name: ClassVar[str] = "stuck"

        def touch(self, train: PulseTrain, tools: EveTools, notes: BlockNotes) -> PulseTrain:  # noqa: ARG002
            at_work.set()
            go_on.wait(10)
            return train

    mind = Mind(small_block(), seed=1)
    mind.switch([Stuck()])
    light = PulseTrain(np.zeros(PULSES, np.uint8), Fibre(10.0, 0.2, 0.01), 0)
    frame = asyncio.create_task(
        asyncio.to_thread(mind.treat, FrameHeader("link-1", "5e" * 16, 2, 0, 4, 0, PULSES), light)
    )
    await asyncio.to_thread(at_work.wait, 10)
    gates, bases = np.arange(9, dtype=np.uint32), np.full(9, Basis.KEY, np.uint8)
    async with asyncio.timeout(5):
        assert (await asyncio.to_thread(mind.known, "5e" * 16, 1, gates, bases)).unknown.all()
    same = asyncio.create_task(asyncio.to_thread(mind.known, "5e" * 16, 2, gates, bases))
    await asyncio.sleep(0.05)
    assert not same.done(), "a block is in one hand at a time"
    assert mind.latest == f"the attack Stuck in {__file__}"
    go_on.set()
    assert (await same).unknown.all()
    await frame
