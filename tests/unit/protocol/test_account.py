import numpy as np
import pytest

from qkdlink.common.distillation.stages import Estimate, ReconciledKey, SiftedKey
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.protocol.aborts import Aborted, AbortReason
from qkdlink.common.protocol.account import Account

BLOCK = BlockId("link", "5e" * 16, 3)


def filled() -> Account:
    account = Account(pulses=1000, detections=200)
    bits, classes = np.zeros(100, np.uint8), np.zeros(100, np.uint8)
    account.sifted(
        SiftedKey(bits, classes, bits[:20], classes[:20], 2), ("signal", "decoy"), (600, 400), (150, 50)
    )
    account.estimate = Estimate((80, 20), (15, 5), (1, 0))
    account.reconciled(ReconciledKey(bits, (2, 1), 30), exchanges=12)
    return account


def test_a_finished_block_has_every_number_of_the_contract():
    ended = filled().close(BLOCK, 40, "certificate-signature", seconds=2.5)
    assert (ended.block_id, ended.number) == (str(BLOCK), 3)
    assert (ended.pulses, ended.detections, ended.sifted_bits) == (1000, 200, 100)
    assert ended.gains == {"signal": 0.25, "decoy": 0.125}
    assert (ended.qber_key, ended.qber_test) == (0.03, 0.05)
    assert (ended.leaked_bits, ended.exchanges) == (30, 12)
    assert ended.efficiency == pytest.approx(30 / (100 * 0.19439186), rel=1e-6)
    assert (ended.secret_bits, ended.aborted, ended.detail) == (40, None, None)


def test_an_aborted_block_has_the_numbers_of_the_stages_it_reached():
    aborted = Aborted(AbortReason.LIGHT_LOST, "frame 3 of 9 was lost", by_peer=True)
    ended = Account(pulses=1000).close(BLOCK, aborted, "certificate-signature", seconds=0.1)
    assert (ended.aborted, ended.detail) == ("light-lost", "frame 3 of 9 was lost")
    assert (ended.qber_key, ended.qber_test, ended.efficiency) == (None, None, None)
    assert (ended.secret_bits, ended.sifted_bits, ended.gains) == (0, 0, {})


def test_an_error_free_block_has_a_rate_of_zero_and_no_efficiency():
    account = filled()
    account.key_errors = (0, 0)
    ended = account.close(BLOCK, 40, "certificate-signature", seconds=1.0)
    assert ended.qber_key == 0.0
    assert ended.efficiency is None


def test_a_class_that_was_never_sent_has_no_gain():
    account = Account()
    empty = np.zeros(0, np.uint8)
    account.sifted(
        SiftedKey(empty, empty, empty, empty, 3), ("signal", "decoy", "vacuum"), (10, 0, 5), (1, 0, 0)
    )
    assert account.gains == {"signal": 0.1, "vacuum": 0.0}
