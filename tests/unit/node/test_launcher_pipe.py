"""The fingerprint that a node tells its launcher: order of opening, gaps, and nothing without a launcher."""

import hashlib
import itertools
import json
import os
from collections.abc import Iterator

import pytest

from common.distillation.stages import SecretKey
from common.journal.events import Entry, NodeStopped
from common.keys.identifiers import BlockId
from common.node.launcher_pipe import Fingerprint, LauncherPipe

KEYS = {number: SecretKey(material=bytes([number]) * 4, secret_bits=32) for number in (1, 2, 3)}


def block(number: int, session: str = "ab" * 16) -> BlockId:
    return BlockId("link-1", session, number)


def digest(*numbers: int) -> str:
    return hashlib.sha256(b"".join(KEYS[number].material for number in numbers)).hexdigest()


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_keys_count_in_the_order_of_opening_whatever_the_order_of_ending(order: tuple[int, ...]) -> None:
    fingerprint = Fingerprint()
    for number in (1, 2, 3):
        fingerprint.begin(block(number))
    for number in order:
        fingerprint.settle(block(number), KEYS[number])
    assert fingerprint.hexdigest() == digest(1, 2, 3)


def test_a_block_without_a_key_counts_for_nothing_and_holds_nothing_up() -> None:
    fingerprint = Fingerprint()
    for number in (1, 2, 3):
        fingerprint.begin(block(number))
        fingerprint.settle(block(number), None if number == 2 else KEYS[number])
    assert fingerprint.hexdigest() == digest(1, 3)


def test_a_block_that_never_reached_this_side_holds_nothing_up() -> None:
    fingerprint = Fingerprint()
    for number in (1, 3):
        fingerprint.begin(block(number))
        fingerprint.settle(block(number), KEYS[number])
    assert fingerprint.hexdigest() == digest(1, 3)


def test_a_peer_that_counts_anew_in_a_new_session_does_not_end_the_account() -> None:
    fingerprint = Fingerprint()
    for session, number in (("ab" * 16, 1), ("ab" * 16, 2), ("cd" * 16, 1)):
        fingerprint.begin(block(number, session))
        fingerprint.settle(block(number, session), KEYS[number])
    assert fingerprint.hexdigest() == digest(1, 2, 1)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    yield read_end, write_end
    for end in (read_end, write_end):
        try:
            os.close(end)
        except OSError:
            continue


def test_the_launcher_is_told_events_and_fingerprints_one_a_line(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    entry = Entry(node="bob", time=1.5, event=NodeStopped(reason="ended"))
    told = LauncherPipe(write_end)
    told.event(entry)
    told.begin(block(1))
    told.settle(block(1), KEYS[1])
    first, second = [json.loads(line) for line in os.read(read_end, 10_000).splitlines()]
    assert Entry.model_validate(first["entry"]) == entry
    assert second == {"fingerprint": digest(1)}


def test_a_node_without_a_launcher_makes_no_fingerprint() -> None:
    silent = LauncherPipe(None)
    silent.event(Entry(node="bob", time=1.5, event=NodeStopped(reason="ended")))
    silent.begin(block(1))
    silent.settle(block(1), KEYS[1])
    assert silent._fingerprint.hexdigest() == digest()


def test_a_launcher_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    os.close(read_end)
    told = LauncherPipe(write_end)
    told.begin(block(1))
    told.settle(block(1), KEYS[1])
    assert told.file is None
