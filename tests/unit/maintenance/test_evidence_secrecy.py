"""A slice of the evidence that no key which Eve knows enters a store; all of it is `make evidence`."""

import pytest

from maintenance.evidence import secrecy as evidence_secrecy

KNOWING = [number for number, case in enumerate(evidence_secrecy.CASES) if case.known_share]


def attack_of(part: int) -> str:
    case = evidence_secrecy.CASES[part]
    return f"{case.attack} {case.protocol}"


@pytest.mark.parametrize("part", KNOWING, ids=attack_of)
def test_a_key_below_the_threshold_is_undetermined_and_one_that_is_too_long_by_what_she_knows_is_caught(
    part: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(evidence_secrecy, "_KEYS_PER_PART", 1)
    found = evidence_secrecy.run_part(20260, part)
    assert (found["keys"], found["unsafe"]) == (1, 0)
    assert found["secret_bits_without_eve"] >= 256
    assert found["mean_known_share"] >= evidence_secrecy.CASES[part].known_share
    assert found["shortened_is_caught"]
    told = evidence_secrecy.conclude([found])
    assert told["passed"]


def test_one_finding_that_is_not_as_claimed_fails_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evidence_secrecy, "_KEYS_PER_PART", 1)
    finding = evidence_secrecy.run_part(20260, KNOWING[0])
    assert evidence_secrecy.conclude([finding])["passed"]
    for wrong in (
        {"unsafe": 1},
        {"keys": 0},
        {"secret_bits_without_eve": 0},
        {"shortened_is_caught": False},
        {"shortened_is_caught": None},
        {"mean_known_share": 0.0},
    ):
        assert not evidence_secrecy.conclude([{**finding, **wrong}])["passed"], wrong


def test_every_attack_has_a_hundred_keys_in_the_evidence():
    assert 100 * len(evidence_secrecy.CASES) == evidence_secrecy.PARTS * evidence_secrecy._KEYS_PER_PART


def test_she_knows_something_wherever_one_touched_click_does_not_end_the_block_and_the_attack_learns():
    ignorant = {case.attack for case in evidence_secrecy.CASES if not case.known_share}
    assert {attack.partition(":")[0] for attack in ignorant} == {"blinding", "time-shift", "jamming"}
