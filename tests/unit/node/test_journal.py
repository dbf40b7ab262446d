"""The journal: whole private lines, in the file first; a full disk is an error, a broker that is away is not."""

import asyncio
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from qkdlink.common.errors import ConfigurationError, LinkError
from qkdlink.common.journal.events import ENTRY, Entry, LineLost, NodeStopped
from qkdlink.common.journal.sequence import EntrySequence
from qkdlink.common.node import journal as node_journal
from qkdlink.common.node import journal_delivery
from qkdlink.common.node.journal import Journal, JournalFile
from qkdlink.common.transport import renewal
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.mqtt import BrokerAccess, Bus, connect
from tests.support.processes import until

MOST_WAITING = 50
CONNECT, PUBLISH = 1, 3
CONNACK, PUBACK = b"\x20\x03\x00\x00\x00", b"\x40\x02"


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


class FakeBus:
    """A broker that takes some messages, then dies before it acknowledges; it comes back, or is silent for good."""

    def __init__(self, *outages: int, silent: bool = False) -> None:
        self.outages = list(outages)
        """After how many more messages each outage begins; the message at which it begins arrives all the same."""
        self.silent = silent
        self.is_away = False
        self.published: list[bytes] = []

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert (topic, retain) == ("topic", False)
        if self.silent:
            await asyncio.Event().wait()
        if self.is_away:
            raise LinkError("The broker is gone.")
        self.published.append(payload)
        if self.outages:
            self.outages[0] -= 1
            if self.outages[0] < 0:
                del self.outages[0]
                self.is_away = True
                raise LinkError("The broker was lost before it took a message.")

    async def ready(self) -> None:
        self.is_away = False


def heard(published: list[bytes]) -> tuple[list[Entry], int]:
    """What a reader keeps of what was published, and how many entries are missing."""
    sequence = EntrySequence()
    entries = [entry for entry in map(ENTRY.validate_json, published) if sequence.accept(entry)]
    return entries, sequence.missed


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_delivery, "MOST_WAITING", MOST_WAITING)
    monkeypatch.setattr(journal_delivery, "_RETRY_PAUSE_S", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def journal(path: Path, told: list[Entry]) -> tuple[Journal, JournalFile]:
    file = JournalFile(path)
    return Journal("bob", file, told.append), file


def test_an_event_is_one_line_with_its_vantage_point_in_a_file_for_its_owner_alone(path: Path) -> None:
    told: list[Entry] = []
    writing, file = journal(path, told)
    with closing(file):
        writing.tell(LineLost(reason="gone\nfor good"))
        writing.tell(NodeStopped(reason="ended"))
    assert [ENTRY.validate_json(line) for line in lines(path)] == told
    assert [(entry.node, entry.number) for entry in told] == [("bob", 1), ("bob", 2)]
    assert told[0].event == LineLost(reason="gone\nfor good")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_journal_is_continued_not_replaced(path: Path) -> None:
    for reason in ("first", "second"):
        writing, file = journal(path, [])
        with closing(file):
            writing.tell(NodeStopped(reason=reason))
    entries = [ENTRY.validate_json(line) for line in lines(path)]
    assert [entry.number for entry in entries] == [1, 1]
    assert entries[0].run != entries[1].run, "a reader tells a restarted node from a repeated entry"


def test_a_journal_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.journal\.jsonl cannot be written: No such file"):
        JournalFile(tmp_path / "nowhere" / "journal.jsonl")


@contextmanager
def small_disk() -> Iterator[None]:
    """A limit on every file of this process; pytest itself may be writing one, so nothing else is done meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_an_error_and_leaves_whole_lines(path: Path) -> None:
    writing, file = journal(path, [])
    with closing(file):
        for n in range(2):
            writing.tell(NodeStopped(reason=str(n)))
        for _ in range(2):
            with small_disk(), pytest.raises(ConfigurationError, match="cannot be written"):
                writing.tell(NodeStopped(reason="x" * 60))
    assert [ENTRY.validate_json(line).event for line in lines(path)] == [
        NodeStopped(reason="0"),
        NodeStopped(reason="1"),
    ]


@pytest.mark.parametrize("outages", [(), (0,), (2, 0, 3), (40,)])
@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_reader_gets_every_entry_once_whatever_the_broker_and_the_end_of_the_node(
    path: Path, outages: tuple[int, ...], cancelled: bool
) -> None:
    bus = FakeBus(*outages)
    writing, file = journal(path, [])

    async def life() -> None:
        async with writing.published(cast("Bus", bus), "topic"):
            try:
                for n in range(MOST_WAITING - 1):
                    writing.tell(LineLost(reason=str(n)))
                if cancelled:
                    await asyncio.Event().wait()
            finally:
                writing.tell(NodeStopped(reason="ended"))

    with closing(file):
        node = asyncio.create_task(life())
        await asyncio.sleep(0)
        if cancelled:
            node.cancel()
        await asyncio.wait({node})
    entries, missed = heard(bus.published)
    assert [entry.model_dump_json() for entry in entries] == lines(path)
    assert [entry.number for entry in entries] == list(range(1, MOST_WAITING + 1))
    assert missed == 0


class DyingBroker:
    """An MQTT broker that closes each connection at the message with this number, before it acknowledges it."""

    def __init__(self, dies_at: int) -> None:
        self.dies_at = dies_at
        self.published: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken = 0
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while (first := (await reader.readexactly(1))[0]) and taken < self.dies_at:
                body = await reader.readexactly(await _remaining_length(reader))
                if first >> 4 == CONNECT:
                    writer.write(CONNACK)
                elif first >> 4 == PUBLISH:
                    taken += 1
                    topic_end = 2 + int.from_bytes(body[:2])
                    self.published.append(body[topic_end + 3 :])  # behind the number and no properties
                    if taken < self.dies_at:
                        writer.write(PUBACK + body[topic_end : topic_end + 2])
                await writer.drain()
        writer.close()


async def _remaining_length(reader: asyncio.StreamReader) -> int:
    length = 0
    for shift in (0, 7, 14, 21):
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        if byte < 128:
            break
    return length


async def test_a_broker_that_dies_at_every_third_message_gets_all_entries(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(
        journal_delivery, "_END_TIMEOUT_S", 20.0
    )  # for a loaded machine; the end takes as long as it needs
    broker = DyingBroker(dies_at=3)
    writing, file = journal(path, [])
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    access = BrokerAccess(Address("127.0.0.1", server.sockets[0].getsockname()[1]), "bob")
    with closing(file):
        async with server, connect(access) as bus, writing.published(bus, "topic"):
            for n in range(9):
                writing.tell(LineLost(reason=str(n)))
            writing.tell(NodeStopped(reason="ended"))
    entries, missed = heard(broker.published)
    assert [entry.model_dump_json() for entry in entries] == lines(path)
    assert len(broker.published) > len(entries), "some came twice"
    assert missed == 0


async def test_a_broker_that_never_answers_holds_the_end_up_for_some_seconds_at_the_most(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_delivery, "_END_TIMEOUT_S", 0.2)
    writing, file = journal(path, [])
    with closing(file):
        async with asyncio.timeout(10), writing.published(cast("Bus", FakeBus(silent=True)), "topic"):
            for n in range(2 * MOST_WAITING):
                writing.tell(NodeStopped(reason=str(n)))
    assert len(lines(path)) == 2 * MOST_WAITING


async def test_an_outage_beyond_memory_is_a_gap_that_a_reader_can_tell_and_the_file_can_fill(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, is_back, told = FakeBus(1), asyncio.Event(), MOST_WAITING + 100
    monkeypatch.setattr(bus, "ready", is_back.wait)
    writing, file = journal(path, [])
    with closing(file):
        async with writing.published(cast("Bus", bus), "topic"):
            writing.tell(LineLost(reason="acknowledged"))
            await until(lambda: len(bus.published) == 1, "the first entry")
            for _ in range(told):
                writing.tell(LineLost(reason="outage"))
            await until(lambda: bus.is_away, "the outage")
            bus.is_away = False
            is_back.set()
    entries, missed = heard(bus.published)
    assert 0 < missed == 1 + told - len(entries)
    assert entries[-1].number == 1 + told == len(lines(path))


def test_closing_gives_the_file_back(path: Path) -> None:
    file = JournalFile(path)
    descriptor = file._file
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe in place of standard output; its other end."""
    read_end, write_end = os.pipe()
    with open(write_end, "w") as stream:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "__stdout__", stream)
        yield read_end
    with suppress(OSError):
        os.close(read_end)


def drained(stdout: int) -> list[str]:
    os.set_blocking(stdout, False)
    with suppress(BlockingIOError):
        return os.read(stdout, 1 << 20).decode().splitlines()
    return []


def test_standard_output_has_every_line_of_the_file_if_that_is_wanted(path: Path, stdout: int) -> None:
    for wanted in (False, True):
        with closing(JournalFile(path, to_stdout=wanted)) as file:
            writing = Journal("bob", file, lambda _: None)
            for n in range(3):
                writing.tell(NodeStopped(reason=str(n)))
    assert len(lines(path)) == 6
    assert drained(stdout) == lines(path)[3:]


@pytest.mark.parametrize("fault", ["nobody reads", "closed by its reader", "closed from the start"])
def test_a_standard_output_that_takes_nothing_neither_stops_nor_ends_a_node(
    path: Path, stdout: int, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(node_journal, "_END_TIMEOUT_S", 0.1)
    monkeypatch.setattr(node_journal, "MOST_UNPRINTED", 100)
    if fault == "closed by its reader":
        os.close(stdout)
    elif fault == "closed from the start":
        monkeypatch.setattr(sys, "__stdout__", None)
    told = 2000  # more than fits into a pipe
    with closing(JournalFile(path, to_stdout=True)) as file:
        writing = Journal("bob", file, lambda _: None)
        for n in range(told):
            writing.tell(NodeStopped(reason=str(n)))
    assert len(lines(path)) == told
    if fault == "nobody reads":  # whole lines, the last ones among them, once it reads again
        printing = next(t for t in threading.enumerate() if t.name == "journal on standard output")
        text = b""
        while printing.is_alive():
            text += os.read(stdout, 1 << 20)
        text += "\n".join(drained(stdout)).encode()
        printed = text.decode().splitlines()
        assert printed[-1] == lines(path)[-1]
        assert set(printed) < set(lines(path))
