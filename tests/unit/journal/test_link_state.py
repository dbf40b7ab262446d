"""The fold of a journal: cut anywhere, repeated, with gaps, and very long."""

import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.block_record import (
    BlockCounts,
    BlockRecord,
    RecordedOutcome,
    RecordedParameters,
    RecordedTrust,
    Removal,
)
from qkdlink.common.journal.events import (
    IN_ORDER,
    AnyEvent,
    AttackTally,
    BlockEnded,
    BlockOpened,
    BlockPostponed,
    BootstrapClosed,
    BrokerBack,
    BrokerLost,
    Entry,
    EpochBegan,
    EveLearnt,
    EveState,
    HalfLinkChanged,
    LightFault,
    LightProgress,
    LineLost,
    NodeStarted,
    NodeStopped,
    PatchChanged,
    PeerRefused,
    ReserveCounted,
    StageReached,
)
from qkdlink.common.journal.key_levels import KeyLevels
from qkdlink.common.journal.link_state import LinkState
from qkdlink.common.journal.reader import follow, healer_from, read_entries, rebuilt

STARTED = NodeStarted(role="bob", link="link-1", broker="b", reproducible=False)


def _block(number: int) -> str:
    return f"link-1/s/{number}"


def _ended(number: int, *, aborted: str | None = None) -> BlockEnded:
    return BlockEnded(
        block_id=_block(number),
        number=number,
        pulses=100,
        detections=10,
        sifted_bits=5,
        qber_key=None,
        qber_test=None,
        gains={},
        leaked_bits=2,
        efficiency=None,
        secret_bits=0 if aborted else 3,
        aborted=aborted,
        detail=None,
        authenticated_by="wegman-carter",
        exchanges=1,
        classical_bytes=1,
        authentication_bytes=1,
        authentication_seconds=0.0,
        seconds=1.0,
    )


def _began(epoch: int) -> EpochBegan:
    return EpochBegan(
        epoch=epoch,
        session="s",
        authenticated_by="link-psk",
        tls_version="TLSv1.3",
        key_id="k",
        peer="alice",
        peer_fingerprint=None,
    )


def _levels(number: int) -> KeyLevels:
    return KeyLevels(
        levels=(),
        produced_bits=number,
        leaked_bits=0,
        confirmed_blocks=number,
        pending_blocks=0,
        highest_block=number,
        epoch=0,
        epoch_since=None,
        latched=False,
        anchor="pki",
        unauthenticated=False,
        upkeep_bits=256,
        blocks_payable=None,
        reserve_lacks_bits=None,
    )


def _record(number: int) -> BlockRecord:
    return BlockRecord(
        software="1",
        block_id=_block(number),
        number=number,
        role="bob",
        began=0,
        ended=1,
        parameters=RecordedParameters(
            protocol="single-photon",
            block_pulses=100,
            intensities=(),
            probabilities=(),
            key_basis_probability=0.9,
            expected_qber=0.01,
            tolerated_qber=0.03,
            switched_off_probability=0.0,
            eps_sec=1e-10,
            eps_cor=1e-15,
            monitors_off=(),
            reproducible=False,
        ),
        counts=BlockCounts(pulses=100),
        removed=(Removal(stage="transmit", reason="light-lost", events=100),),
        exchanges=0,
        charged=None,
        bound=None,
        monitors=(),
        trust=RecordedTrust(
            anchor="pki",
            unauthenticated=False,
            scheme="wegman-carter",
            epoch=0,
            checkpoints=0,
            units_of_alice=0,
            units_of_bob=0,
            tag_bits=0,
            classical_bytes=1,
        ),
        outcome=RecordedOutcome(
            secret_bits=0, reserve_bits=0, aborted="light-lost", detail="", by_peer=False
        ),
    )


_OF_A_NUMBER: list[Callable[[int], AnyEvent]] = [
    _began,
    _ended,
    lambda number: _ended(number, aborted=f"reason {number}"),
    lambda number: BlockOpened(block_id=_block(number), number=number, pulses=100),
    lambda number: LightProgress(block_id=_block(number), number=number, pulses=50),
    lambda number: StageReached(block_id=_block(number), number=number, stage="sift"),
    lambda number: LightFault(fault=f"fault {number}", detail="", frames=number),
    lambda number: LineLost(reason=f"{number}"),
    lambda number: PeerRefused(reason=f"{number}"),
    lambda number: BlockPostponed(number=number, pause_s=1.0, reason="pace"),
    lambda number: ReserveCounted(blocks_payable=number, seconds_to_starvation=1.0),
    lambda _: STARTED,
    lambda _: NodeStopped(reason=IN_ORDER),
    lambda _: BrokerLost(reason="gone"),
    lambda _: BrokerBack(broker="b"),
    lambda number: PatchChanged(light="eve", classical="direct", reason=f"{number}"),
    lambda number: BootstrapClosed(anchor="pki", seconds=number, bytes=number, blocks=1),
    _levels,
    _record,
]
_OF_EVE: list[Callable[[int], AnyEvent]] = [
    lambda number: EveState(
        attacks=[f"{number}"], treatments=[], light="eve", words="eve", impersonating=False, known=[]
    ),
    lambda number: AttackTally(attack=f"{number}", channel="quantum", acted=number),
    lambda number: HalfLinkChanged(facing=f"{number}", living=True, reason=""),
    lambda number: EveLearnt(
        block_id=_block(number),
        number=number,
        sifted_bits=5,
        known_fraction_of_sifted=0.2,
        guess_probability=0.6,
        information_bits=1.0,
        min_entropy_bits=2.0,
        disclosed_bits=2,
        removed_bits=2,
        secret_bits=3,
        key_undetermined=True,
        key_recovered=False,
    ),
]
EVENTS = st.builds(
    lambda make, number: make(number), st.sampled_from([*_OF_A_NUMBER, *_OF_EVE]), st.integers(1, 6)
)


def _journal(events: list[AnyEvent], run: str = "r") -> list[Entry]:
    return [
        Entry(node="bob", run=run, number=number, time=float(number), event=event)
        for number, event in enumerate(events, 1)
    ]


def _line(entry: Entry) -> bytes:
    return entry.model_dump_json().encode() + b"\n"


def _live(entries: list[Entry], eavesdropper: str | None = None) -> LinkState:
    state = LinkState(eavesdropper=eavesdropper)
    for entry in entries:
        state.take(entry)
    return state


@given(st.lists(EVENTS, max_size=30), st.sampled_from([None, "bob"]), st.data())
def test_the_state_from_a_journal_that_was_cut_anywhere_is_the_live_one_up_to_there(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[AnyEvent],
    eavesdropper: str | None,
    data: st.DataObject,
) -> None:
    entries = _journal(events)
    written = b"".join(map(_line, entries))
    cut = written[: data.draw(st.integers(0, len(written)))]
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    path.write_bytes(cut)
    whole = len([end for end in _ends(entries) if end <= len(cut)])
    assert rebuilt([path], eavesdropper) == _live(entries[:whole], eavesdropper)


def _ends(entries: list[Entry]) -> list[int]:
    """Where each entry is whole; its line's end may be missing."""
    lines = [_line(entry) for entry in entries]
    return [sum(map(len, lines[: count + 1])) - 1 for count in range(len(lines))]


@given(st.lists(EVENTS, max_size=15), st.lists(EVENTS, max_size=15), st.data())
def test_entries_that_come_again_change_nothing(
    one: list[AnyEvent], other: list[AnyEvent], data: st.DataObject
) -> None:
    entries = _journal(one) + _journal(other, run="later")
    state = LinkState()
    for position, entry in enumerate(entries):
        state.take(entry)
        before = deepcopy(state)
        again = data.draw(st.integers(0, position))
        assert not any(state.take(each) for each in entries[again : position + 1])
        assert state == before
    assert state == _live(entries)


@given(st.lists(EVENTS, min_size=3, max_size=15), st.data())
def test_a_gap_is_named_and_healed_from_the_nodes_file(
    tmp_path_factory: pytest.TempPathFactory, events: list[AnyEvent], data: st.DataObject
) -> None:
    entries = _journal(events)
    first = data.draw(st.integers(2, len(entries) - 1))
    last = data.draw(st.integers(first, len(entries) - 1))
    come = entries[: first - 1] + entries[last:]
    path = tmp_path_factory.getbasetemp() / "whole.jsonl"
    path.write_bytes(b"".join(map(_line, entries)))
    healed, unhealed = LinkState(), LinkState()
    found = [each for entry in come for each in follow(healed, entry, healer_from({"bob": path}))]
    for entry in come:
        list(follow(unhealed, entry, healer_from({"bob": path.parent})))  # a folder is no journal
    assert found == entries
    assert healed == _live(entries)
    assert not healed.gaps
    [gap] = unhealed.gaps
    assert (gap.node, gap.run, gap.first, gap.last) == ("bob", "r", first, last)


def test_what_a_node_says_of_eve_is_not_taken_for_hers() -> None:
    entries = _journal([make(1) for make in _OF_EVE])
    assert _live(entries, "eve").eve == LinkState().eve
    hers = _live(entries, "bob").eve
    assert (hers.state, list(hers.tallies), list(hers.learnt), list(hers.half_links.values())) == (
        entries[0].event,
        [entries[1].event],
        [entries[3].event],
        [entries[2].event],
    )


def test_what_a_file_lacks_of_a_gap_stays_named(tmp_path: Path) -> None:
    entries = _journal([STARTED, *(LineLost(reason=str(number)) for number in range(8))])
    (tmp_path / "part").write_bytes(_line(entries[3]) + b'{"node": "x"}\n' + _line(entries[4]))
    state = LinkState()
    for entry in (entries[0], entries[6]):
        list(follow(state, entry, healer_from({"bob": tmp_path / "part"})))
    assert [(gap.first, gap.last) for gap in state.gaps] == [(2, 3), (6, 6)]


def test_a_line_without_an_end_is_passed_over_and_a_missing_journal_is_empty(tmp_path: Path) -> None:
    [entry] = _journal([STARTED])
    foreign = _line(entry.model_copy(update={"node": "x" * (1 << 20)}))
    (tmp_path / "long").write_bytes(foreign + _line(entry))
    assert list(read_entries(tmp_path / "long")) == [entry]
    assert list(read_entries(tmp_path / "none")) == []
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(read_entries(tmp_path))


def test_a_million_events_do_not_grow_the_state() -> None:
    """Take what fills every bound, and then again as much; a million events are more of the same."""
    state = LinkState(kept=5)
    sizes = []
    for name in range(500):
        state.take(Entry(node=f"stranger {name}", time=0.0, event=STARTED))
    assert len(state.nodes) < 100
    state = LinkState(kept=5, eavesdropper="n0")
    for half in range(2):
        for number in range(half * 300, half * 300 + 300):
            made = [make(number) for make in (*_OF_A_NUMBER[:11], _levels, _record, *_OF_EVE)]
            for place, event in enumerate(made, 1):  # every number is followed by a gap
                numbered = {"run": f"{number % 97}-{number}", "number": 2 * place}
                state.take(Entry.model_construct(node=f"n{number % 3}", time=0.0, event=event, **numbered))
        sizes.append(_count(state))
    node = state.nodes["n0"]
    assert node.totals.blocks == 400
    assert [record.number for record in node.records] == list(range(585, 600, 3))
    assert node.key_levels == _levels(597)
    assert sizes[1] <= sizes[0]


def _count(held: object) -> int:
    """Count what a state holds."""
    match held:
        case dict():
            return sum(1 + _count(each) for each in held.values())
        case str() | bytes() | int() | float() | None:
            return 1
        case _ if hasattr(held, "__iter__"):
            return sum(map(_count, held))
        case _ if hasattr(held, "__slots__") and not isinstance(held, Entry):
            return sum(_count(getattr(held, name)) for name in held.__slots__)
        case _:
            return sys.getsizeof(held) and 1
