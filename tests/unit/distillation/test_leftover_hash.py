from math import log2

from qkdlink.common.distillation.leftover_hash import min_entropy_suffices

EPS = 2.0**-31
"""Costs 60 bits."""


def test_what_she_lacks_pays_for_disclosure_key_and_privacy_to_the_bit():
    assert min_entropy_suffices(1000.0, 300, 640, EPS)
    assert not min_entropy_suffices(1000.0, 300, 641, EPS)
    assert not min_entropy_suffices(1000.0, 301, 640, EPS)
    assert not min_entropy_suffices(999.5, 300, 640, EPS)
    assert not min_entropy_suffices(1000.0, 300, 640, EPS / 2)
    assert log2(1 / (2 * EPS)) == 30
