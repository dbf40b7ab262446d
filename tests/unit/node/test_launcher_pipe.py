"""The fingerprint that a node tells its launcher: the same in any order, and nothing without a launcher."""

import hashlib
import itertools
import json
import os
from collections.abc import Iterator

import pytest

from qkdlink.common.distillation.stages import SecretKey
from qkdlink.common.journal.events import Entry, NodeStopped
from qkdlink.common.node.launcher_pipe import Fingerprint, LauncherPipe

KEYS = {number: SecretKey(material=bytes([number]) * 4, secret_bits=32) for number in (1, 2, 3)}


def digest(*numbers: int) -> str:
    digests = [hashlib.sha256(KEYS[number].material).digest() for number in numbers]
    return f"{sum(int.from_bytes(each) for each in digests) % 2**256:064x}"


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_blocks_may_begin_and_end_in_any_order(order: tuple[int, ...]) -> None:
    fingerprint = Fingerprint()
    for number in order:
        fingerprint.add(KEYS[number])
    assert fingerprint.hexdigest() == digest(1, 2, 3)


def test_another_key_a_missing_and_a_repeated_one_change_it() -> None:
    said = set()
    for keys in ([1], [2], [1, 2], [1, 1], [1, 3], [1, 2, 3]):
        fingerprint = Fingerprint()
        for key in keys:
            fingerprint.add(KEYS[key])
        said.add(fingerprint.hexdigest())
    assert len(said) == 6


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
    told.settle(KEYS[1])
    told.settle(None)
    first, second, third = [json.loads(line) for line in os.read(read_end, 10_000).splitlines()]
    assert Entry.model_validate(first["entry"]) == entry
    assert second == third == {"fingerprint": digest(1)}


def test_a_node_without_a_launcher_makes_no_fingerprint() -> None:
    silent = LauncherPipe(None)
    silent.event(Entry(node="bob", time=1.5, event=NodeStopped(reason="ended")))
    silent.settle(KEYS[1])
    assert silent._fingerprint.hexdigest() == digest()


def test_a_launcher_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    os.close(read_end)
    told = LauncherPipe(write_end)
    told.settle(KEYS[1])
    assert told.file is None
