"""A slice of the evidence that no key which Eve knows enters a store; all of it is `make evidence`."""

import pytest

from lab import evidence_secrecy


@pytest.mark.parametrize("part", [0, 2, 9])
def test_keys_below_every_threshold_are_undetermined_and_a_shortened_amplification_is_caught(
    part: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evidence_secrecy, "_KEYS_PER_PART", 5)
    found = evidence_secrecy.run_part(20260, part)
    assert (found["keys"], found["unsafe"]) == (5, 0)
    assert found["secret_bits_without_eve"] >= 256
    assert found["shortened_is_caught"]
    told = evidence_secrecy.conclude([found])
    assert told["passed"]
    assert not evidence_secrecy.conclude([{**found, "unsafe": 1}])["passed"]
    assert not evidence_secrecy.conclude([{**found, "keys": 4}])["passed"]


def test_every_attack_has_a_hundred_keys_in_the_evidence():
    assert 100 * len(evidence_secrecy.CASES) == evidence_secrecy.PARTS * evidence_secrecy._KEYS_PER_PART
