"""Eve follows conversations in the order in which they passed, and is not thrown by what she does not understand."""

import json
import os
from collections.abc import Iterator
from math import ceil, log2
from pathlib import Path

import numpy as np
import pytest

from qkdlink.common.distillation.verification import verification_tag_bits
from qkdlink.common.journal.event import Event
from qkdlink.common.journal.events import EveLearnt
from qkdlink.common.node.launcher_pipe import Fingerprint, LauncherPipe
from qkdlink.common.optics.records import Gates
from qkdlink.common.transport.connections import ACCEPTED
from qkdlink.common.wire.framing import Envelope, encode
from qkdlink.common.wire.messages import Abort, Checkpoint, VerificationHash
from qkdlink.eve.listening.key_log import KeyLog
from qkdlink.eve.listening.listener import Known, Listener, Overhearing
from qkdlink.eve.notebook import Bases, BlockNotes, Knowledge
from qkdlink.eve.relay import Way
from tests.support.pair import small_block
from tests.support.tls_tap import Tapped, keyed_contexts, tapped
from tests.unit.eve.test_recovery import CONVERSATION, LENGTH, SECRET_BITS

SESSION, LINK = "ab" * 16, "link-1"
PARAMETERS = small_block().model_copy(update={"block_pulses": LENGTH})
[PARITIES] = [
    message.disclosed_parities for _, message in CONVERSATION if isinstance(message, VerificationHash)
]
DISCLOSED_BITS = PARITIES + verification_tag_bits(LENGTH, PARAMETERS.eps_cor)
TAG = Checkpoint(position=0, scheme="none", tag=b"")


@pytest.fixture
def reports(tmp_path: Path) -> Iterator[tuple[LauncherPipe, Path]]:
    path = tmp_path / "reports"
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    yield LauncherPipe(file), path
    os.close(file)


def knows_nothing(_: str, __: int, gates: Gates, bases: Bases) -> Knowledge:
    return BlockNotes().known(gates, bases)


def listening(
    tmp_path: Path, pipe: LauncherPipe, known: Known = knows_nothing
) -> tuple[Listener, list[Event]]:
    told: list[Event] = []
    log = KeyLog.of([tmp_path / "keys.log"])
    return Listener(Overhearing(LINK, PARAMETERS, log.secret, known), told.append, pipe), told


def line_with(tmp_path: Path, *messages: tuple[Way, Envelope]) -> Tapped:
    said = [(Way.TO_ALICE, ACCEPTED), *((way, encode(envelope)) for way, envelope in messages)]
    return tapped(keyed_contexts(), tmp_path / "keys.log", said)


def in_block(number: int, upto: int | None = None) -> list[tuple[Way, Envelope]]:
    said = [*CONVERSATION, (Way.TO_BOB, TAG)][:upto]
    return [(way, Envelope(SESSION, number, 0, message)) for way, message in said]


def test_a_block_is_accounted_for_once_when_it_ends(tmp_path: Path, reports: tuple[LauncherPipe, Path]):
    pipe, path = reports
    listener, told = listening(tmp_path, pipe)
    for way, data in line_with(tmp_path, *in_block(1)):
        listener.passed(1, way, data)
    listener.closed(1)
    listener.finish()
    [learnt] = told
    assert isinstance(learnt, EveLearnt)
    assert (learnt.number, learnt.sifted_bits, learnt.secret_bits) == (1, LENGTH, SECRET_BITS)
    assert (learnt.known_fraction_of_sifted, learnt.guess_probability) == (0, 0.5)
    assert (learnt.removed_bits, learnt.min_entropy_bits) == (LENGTH - SECRET_BITS, LENGTH)
    assert not learnt.key_recovered
    assert learnt.key_undetermined
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"fingerprint": Fingerprint().hexdigest()}
    ]


def test_a_block_is_announced_to_her_notebook_from_its_opening_to_its_account(tmp_path: Path):
    heard: list[tuple[str, str, int]] = []

    def known(session: str, number: int, gates: Gates, bases: Bases) -> Knowledge:
        heard.append(("asked", session, number))
        return knows_nothing(session, number, gates, bases)

    overhearing = Overhearing(
        LINK,
        PARAMETERS,
        KeyLog.of([tmp_path / "keys.log"]).secret,
        known,
        opened=lambda session, number: heard.append(("opened", session, number)),
        ended=lambda session, number: heard.append(("ended", session, number)),
    )
    for way, data in line_with(tmp_path, *in_block(1), *in_block(2, 4)):
        overhearing.hear(1, way, data)
    overhearing.all_closed()
    assert heard == [(what, SESSION, number) for number in (1, 2) for what in ("opened", "asked", "ended")]


@pytest.mark.parametrize(("short_bits", "undetermined"), [(0, True), (1, False)])
def test_a_key_is_undetermined_while_what_she_lacks_pays_for_it(
    tmp_path: Path, reports: tuple[LauncherPipe, Path], short_bits: int, undetermined: bool
):
    def known(_: str, __: int, gates: Gates, ___: Bases) -> Knowledge:
        lacked = SECRET_BITS + DISCLOSED_BITS + ceil(-2 * log2(2 * PARAMETERS.eps_sec)) - short_bits
        return Knowledge(np.zeros(len(gates), np.uint8), np.where(np.arange(len(gates)) < lacked, 0.5, 1.0))

    listener, told = listening(tmp_path, reports[0], known)
    for way, data in line_with(tmp_path, *in_block(1)):
        listener.passed(1, way, data)
    listener.finish()
    [learnt] = told
    assert isinstance(learnt, EveLearnt)
    assert learnt.disclosed_bits == DISCLOSED_BITS
    assert learnt.key_undetermined is undetermined
    assert not learnt.key_recovered


def test_a_block_that_is_aborted_or_cut_off_after_sifting_is_accounted_for_without_a_key(
    tmp_path: Path, reports: tuple[LauncherPipe, Path]
):
    listener, told = listening(tmp_path, reports[0])
    abort = Envelope(SESSION, 1, 0, Abort(reason="gain", detail=""))
    aborted = [*in_block(1, 4), (Way.TO_ALICE, abort), (Way.TO_BOB, abort)]
    for way, data in line_with(tmp_path, *aborted, *in_block(2, 4), *in_block(3, 2)):
        listener.passed(1, way, data)
    listener.finish()
    assert [each.number for each in told if isinstance(each, EveLearnt)] == [1, 2], "block 3 was never sifted"
    assert all(each.secret_bits == each.removed_bits == 0 for each in told if isinstance(each, EveLearnt))


def test_a_connection_that_is_not_understood_is_left_and_the_others_are_followed(
    tmp_path: Path, reports: tuple[LauncherPipe, Path], capsys: pytest.CaptureFixture[str]
):
    listener, told = listening(tmp_path, reports[0])
    for way, data in line_with(tmp_path, *in_block(1)):
        listener.passed(1, Way.TO_BOB, b"GET / HTTP/1.1\r\n")
        listener.passed(2, way, data)
    listener.finish()
    assert len(told) == 1
    assert capsys.readouterr().err == "eve: connection 1 cannot be followed: the bytes are no TLS records\n"
