"""Whole blocks with Eve: what refuses them, and that a key that is made is undetermined for her."""

from collections.abc import Sequence

import pytest

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.outlet import Outlet
from qkdlink.common.optics.watchful_receiver import DetectorFlaws
from qkdlink.common.protocol.aborts import AbortReason
from qkdlink.common.protocol.parameters import ProtocolName
from qkdlink.common.protocol.variants.one_decoy import ONE_DECOY
from qkdlink.common.protocol.variants.single_photon import SINGLE_PHOTON
from qkdlink.common.protocol.variants.two_decoy import TWO_DECOY
from qkdlink.eve.quantum_attacks.catalogue import attack_from
from qkdlink.lab.light.block_with_eve import BlockWithEve, Hardware, live_block
from tests.support.pair import small_block

HARDWARE = Hardware()
OFF = tuple(Monitor)


def run(
    attack: str,
    protocol: ProtocolName = SINGLE_PHOTON.name,
    number: int = 1,
    *,
    hardware: Hardware = HARDWARE,
    turned_off: Sequence[Monitor] = (),
    lengthened_by: int = 0,
) -> BlockWithEve:
    return live_block(
        small_block(protocol),
        [attack_from(attack)],
        20260,
        number,
        hardware=hardware,
        turned_off=turned_off,
        lengthened_by=lengthened_by,
    )


@pytest.mark.parametrize("protocol", [SINGLE_PHOTON.name, TWO_DECOY.name])
def test_without_eve_there_is_a_key_and_she_knows_nothing_of_it(protocol: ProtocolName):
    block = run("transparent", protocol)
    assert block.refused_by is None
    assert block.secret_bits >= 256
    assert block.known_fraction == 0
    assert block.safe


@pytest.mark.parametrize(
    ("attack", "protocol"),
    [
        ("intercept-resend:fraction=0.04", SINGLE_PHOTON.name),
        ("intercept-resend:fraction=0.02,bases=key", SINGLE_PHOTON.name),
        ("breidbart:fraction=0.03", SINGLE_PHOTON.name),
        ("intercept-resend:fraction=0.01", TWO_DECOY.name),
        ("photon-number-splitting:fraction=0.1", TWO_DECOY.name),
    ],
)
def test_below_the_threshold_a_key_is_made_and_undetermined_for_her(attack: str, protocol: ProtocolName):
    block = run(attack, protocol)
    assert block.secret_bits >= 256
    assert block.min_entropy_bits < 0.9999 * run("transparent", protocol).min_entropy_bits
    assert block.safe


def test_the_light_that_a_line_loses_gives_her_bits_and_no_key():
    short = small_block(ONE_DECOY.name).model_copy(update={"fibre": Fibre(1.0, 0.2, 0.01)})
    block = live_block(short, [attack_from("beam-splitting")], 20260, 1)
    assert block.secret_bits >= 256
    assert block.known_fraction > 0.01
    assert block.check
    assert block.safe


def test_twenty_blocks_at_sub_threshold_strength_make_keys_that_she_cannot_know():
    blocks = [run("intercept-resend:fraction=0.05", number=number) for number in range(20)]
    keys = [block for block in blocks if block.secret_bits]
    assert len(keys) >= 15
    assert all(block.known_fraction > 0.01 and block.check and block.check.holds for block in keys)


def test_with_amplification_shortened_by_hand_the_check_fails():
    fine = run("intercept-resend:fraction=0.05")
    assert fine.check
    too_much = fine.check.spare_bits + 1
    assert not run("intercept-resend:fraction=0.05", lengthened_by=too_much).safe
    guessed = run("breidbart:fraction=0.03")
    assert guessed.check is None
    assert guessed.safe
    assert not run("breidbart:fraction=0.03", lengthened_by=10_000).safe


def test_a_full_strength_attack_leaves_no_key():
    for attack in ("intercept-resend", "breidbart", "jamming"):
        assert run(attack).refused_by == AbortReason.QBER_ABOVE_TOLERATED


def test_blinding_is_refused_by_name_and_takes_the_whole_key_where_nobody_looks():
    watched = run("blinding")
    assert watched.refused_by == Monitor.PHOTOCURRENT
    assert watched.safe
    unwatched = run("blinding", turned_off=OFF)
    assert unwatched.secret_bits >= 256
    assert unwatched.known_fraction == 1
    assert unwatched.qber_key == unwatched.qber_test == 0
    assert unwatched.check
    assert unwatched.check.undetermined_bits == 0
    assert not unwatched.safe


def test_random_efficiency_refuses_blinding_where_no_photocurrent_is_seen():
    hardware = Hardware(switched_off_probability=1 / 16)
    block = run("blinding", hardware=hardware, turned_off=[Monitor.PHOTOCURRENT])
    assert block.refused_by == Monitor.RANDOM_EFFICIENCY
    assert run("transparent", hardware=hardware).refused_by is None


def test_a_time_shift_is_refused_by_the_times_of_arrival_and_costs_more_than_is_left_where_nobody_looks():
    assert run("time-shift").refused_by == Monitor.ARRIVAL_TIMES
    unwatched = run("time-shift", hardware=Hardware(DetectorFlaws(0.1)), turned_off=OFF)
    assert unwatched.known_fraction == 0
    assert unwatched.min_entropy_bits < 0.2 * 10_000


def test_reflections_of_a_strong_probe_tell_her_a_key_that_the_bound_calls_secret():
    bright = Hardware(outlet=Outlet(isolation_db=60.0), probe_photons=5e6)
    block = run("trojan-horse", SINGLE_PHOTON.name, hardware=bright)
    assert block.refused_by is None
    assert block.known_fraction > 0.98
    assert not block.safe
