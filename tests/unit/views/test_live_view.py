"""What `demo` and `up` show: the same on a terminal as in a file, and nothing that runs into something else."""

import io
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from qkdlink.common.journal.events import (
    AnyEvent,
    AttackTally,
    BlockOpened,
    BlockPostponed,
    Entry,
    ReserveCounted,
    SourceBehind,
)
from qkdlink.common.journal.link_state import NodeState
from qkdlink.deployment.launching.link_result import LinkResult
from qkdlink.views.live_view import LiveView
from tests.support.processes import small_parameters
from tests.support.told import block_ended

PARAMETERS = small_parameters()


def shown(*events: AnyEvent, on_terminal: bool, blocks: int | None = None) -> str:
    """Everything that was written, with the last picture of a terminal."""
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=on_terminal, width=120, height=50, color_system=None, legacy_windows=False
    )
    with LiveView(console, PARAMETERS, blocks) as view:
        for event in events:
            view.watch(Entry(node="alice", time=1.0, event=event))
    return stream.getvalue()


def opened(number: int) -> BlockOpened:
    return BlockOpened(block_id=f"link/{number}", number=number, pulses=1000)


@pytest.mark.parametrize("number", [1, 99, 100, 123_456_789])
def test_the_number_of_a_block_stands_apart_from_what_is_said_of_it(number: int) -> None:
    behind = SourceBehind(block_id="link/1", number=number, clock_hz=1e9, pulses_per_second=1e8, behind_s=2.0)
    lines = shown(opened(number), behind, block_ended(number), on_terminal=False).splitlines()
    assert [line.split()[:4] for line in lines[-2:]] == [
        ["block", str(number), "the", "source"],
        ["block", str(number), "no", "key:"],
    ]


@pytest.mark.parametrize("on_terminal", [False, True])
def test_it_says_why_a_block_was_refused(on_terminal: bool) -> None:
    told = shown(opened(3), block_ended(3), on_terminal=on_terminal)
    assert "block 3  no key: qber-above-tolerated (25 % of the test bits differ), no line yet" in told


@pytest.mark.parametrize("on_terminal", [False, True])
def test_every_block_is_told_of_once_in_a_line_or_a_row(on_terminal: bool) -> None:
    ended = [block_ended(number, secret_bits=10_000 + number) for number in range(1, 41)]
    told = shown(*ended, on_terminal=on_terminal)
    last_picture = told[told.rindex("QBER key") :] if on_terminal else ""
    for number in range(1, 41):
        in_a_line = f"{10_000 + number} secret bits" in told
        in_the_table = f"{10_000 + number}" in last_picture
        assert in_a_line != in_the_table


@dataclass
class Ended:
    """What `summary` reads of a result."""

    key_recovered: bool
    eve_knows: bool
    secret_bits: int = 20
    keys_equal: bool = True
    seconds: float = 1.0
    tallies: tuple[AttackTally, ...] = (
        AttackTally(attack="breidbart", channel="quantum", acted=3),
        AttackTally(attack="drop", channel="classical", acted=0, obstacle="drop cannot."),
    )
    impersonation: None = None
    balance: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(unauthenticated=False))
    link: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(
            alice=SimpleNamespace(fingerprint="f", told=NodeState()),
            bob=SimpleNamespace(fingerprint="f", told=NodeState()),
        )
    )


@pytest.mark.parametrize(
    ("result", "last"),
    [
        (Ended(key_recovered=True, eve_knows=True), "EVE HAS THE KEY: do not use it."),
        (Ended(key_recovered=False, eve_knows=True), "EVE KNOWS OF THE KEY: do not use it."),
        (Ended(key_recovered=False, eve_knows=False), "The keys are equal. 0 blocks in 1.0 s."),
        (Ended(key_recovered=True, eve_knows=True, secret_bits=0), "EVE HAS THE KEY: do not use it."),
        (Ended(key_recovered=False, eve_knows=False, secret_bits=0), "No key: no block was confirmed."),
    ],
)
def test_the_last_line_does_not_say_that_all_is_well_where_eve_knows_the_key(
    result: Ended, last: str
) -> None:
    stream = io.StringIO()
    LiveView(Console(file=stream, width=200), PARAMETERS, None).summary(cast("LinkResult", result))
    lines = stream.getvalue().splitlines()
    assert lines[-1] == last
    assert lines[0] == "attack   breidbart acted on 3 frames of light"
    assert lines[1].endswith("acted on 0 pieces of the classical channel, without effect: drop cannot.")


POSTPONED = BlockPostponed(number=8, pause_s=75.4, reason="each of the last 2 blocks made no key")
NEXT = "next     block 8 in 75 s: each of the last 2 blocks made no key"
RESERVE = "reserve  pays for 140 more blocks; if all of them fail, it is empty in 1 h 29 min"


@pytest.mark.parametrize("on_terminal", [False, True])
def test_it_says_when_the_next_block_comes_why_it_waits_and_how_long_the_reserve_lasts(
    on_terminal: bool,
) -> None:
    told = shown(counted(140, 5390.0), POSTPONED, on_terminal=on_terminal)
    assert NEXT in told
    assert RESERVE in told
    assert NEXT not in shown(POSTPONED, opened(8), on_terminal=True)
    assert "reserve" not in shown(counted(140, 5390.0), on_terminal=on_terminal, blocks=3)


def test_a_file_gets_a_new_line_on_the_reserve_only_where_it_says_something_new() -> None:
    told = shown(counted(140, 5390.0), counted(139, 5389.0), counted(70, 5200.0), on_terminal=False)
    assert told.count("reserve ") == 2
    assert "empty in 1 h 26 min" in told


def test_while_a_block_is_under_way_nothing_waits() -> None:
    assert "next " not in shown(opened(7), POSTPONED, on_terminal=False)


def counted(blocks: int, seconds: float) -> ReserveCounted:
    return ReserveCounted(blocks_payable=blocks, seconds_to_starvation=seconds)
