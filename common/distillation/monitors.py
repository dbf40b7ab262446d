"""Monitors: what Bob and Alice look at beside the error rate, each with its name and its false-alarm probability.

Each is a pure function of counts and of what the honest link is expected to show; it returns a `Look`: its readings,
and the alarm that they raise, if they do. The counts of an honest link raise one with at most the stated probability,
`FALSE_ALARM` unless told otherwise, per monitor and block: exact binomial tails, shared out where a monitor makes
several tests. Dead time and afterpulses make counts spread less or more than binomially; `dispersion` is the variance
over the binomial one, and counts are divided by it before they are tested. (Geometric afterpulsing spreads by at most
(1 + p_ap) / (1 - p_ap).)

A monitor that stays silent proves nothing. What is secret is decided by the key-length bound; monitors are for what
the bound's model leaves out.

Sources: Lydersen et al., Nat. Photonics 4, 686 (2010) (photocurrent); Lim, Walenta, Legre, Gisin, Zbinden, IEEE J. Sel.
Top. Quantum Electron. 21, 6601305 (2015) (random efficiency); Qi, Fung, Lo, Ma, Quantum Inf. Comput. 7, 73 (2007)
(arrival times); Lucamarini et al., Phys. Rev. X 5, 031030 (2015) (watchdog).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from qkdlink.common.distillation import binomial

FALSE_ALARM = 1e-6
"""Probability that one monitor refuses one block of an honest link."""

_SHIFT_TESTS = 3


class Monitor(StrEnum):
    """What a refused block names, and what can be turned off."""

    DECOYS = "decoy-analysis"
    QBER = "qber-per-basis"
    GAIN = "gain"
    VACUUM_GAIN = "vacuum-gain"
    DOUBLE_CLICKS = "double-clicks"
    PHOTOCURRENT = "photocurrent"
    RANDOM_EFFICIENCY = "random-efficiency"
    ARRIVAL_TIMES = "arrival-times"
    OUTLET_WATCHDOG = "outlet-watchdog"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A monitor refuses a block."""

    monitor: Monitor
    detail: str
    """One sentence: what was seen and what was expected."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One number that a monitor has looked at, beside what an honest link shows."""

    of: str
    """Which number; empty where there is but one."""
    value: float
    limit: float
    """The least tail that passes; without a tail, the value that raises the alarm."""
    expected: float | None = None
    """Of an honest link, in the same unit."""
    tail: float | None = None
    """Probability of lying as far off on an honest link; None where the value itself has a limit."""
    unit: str = "rate"
    trials: int | None = None
    """Of how many pulses, gates or bits a rate is; without one it says nothing."""

    @property
    def is_beyond(self) -> bool:
        """Whether the tail is smaller than it may be."""
        return self.tail is not None and self.tail < self.limit


@dataclass(frozen=True, slots=True)
class Look:
    """What one monitor saw: all its readings, and an alarm if one of them is beyond its limit."""

    monitor: Monitor
    readings: tuple[Reading, ...]
    alarm: Alarm | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """So many events in so many trials, and the probability 0..1 of the honest link."""

    events: int
    trials: int
    expected: float

    @property
    def rate(self) -> float:
        """Events over trials, 0..1; 0 without a trial."""
        return self.events / self.trials if self.trials else 0.0


def upper_tail(count: Count, dispersion: float = 1.0) -> float:
    """Probability 0..1 of as many events or more on an honest link."""
    events, trials = count.events / dispersion, count.trials / dispersion
    return binomial.above(events - 1, trials, count.expected) if count.events else 1.0


def lower_tail(count: Count, dispersion: float = 1.0) -> float:
    """Probability 0..1 of as few events or fewer on an honest link."""
    events, trials = count.events / dispersion, count.trials / dispersion
    if count.events >= count.trials:
        return 1.0
    return binomial.above(trials - events - 1, trials, 1 - count.expected)


def two_sided_tail(count: Count, dispersion: float = 1.0) -> float:
    """Probability 0..1 of lying as far off on an honest link: twice the smaller tail, at most 1."""
    return min(1.0, 2 * min(lower_tail(count, dispersion), upper_tail(count, dispersion)))


def look_at_qber(key: Count, test: Count, false_alarm: float = FALSE_ALARM, dispersion: float = 1.0) -> Look:
    """Compare the errors of each basis with what is expected, never pooled, from above."""
    return _look(
        Monitor.QBER,
        [
            (
                _tested(f"{basis} basis", count, upper_tail(count, dispersion), false_alarm / 2),
                f"the {basis} basis shows {count.rate:.2%} errors, {count.expected:.2%} are expected",
            )
            for basis, count in (("key", key), ("test", test))
        ],
    )


def look_at_gains(
    classes: Sequence[Count], false_alarm: float = FALSE_ALARM, dispersion: float = 1.0
) -> Look:
    """Compare the gain of each intensity (clicks in emitted pulses) with what is expected, from both sides."""
    return _look(
        Monitor.GAIN,
        [
            (
                _tested(
                    f"class {intensity}",
                    count,
                    two_sided_tail(count, dispersion),
                    false_alarm / len(classes),
                ),
                f"intensity class {intensity} has a gain of {count.rate:.4g}, {count.expected:.4g} is expected",
            )
            for intensity, count in enumerate(classes)
        ],
    )


def look_at_vacuum_gain(vacuum: Count, false_alarm: float = FALSE_ALARM, dispersion: float = 1.0) -> Look:
    """Compare clicks in vacuum pulses with the dark counts: blinded detectors have none."""
    reading = _tested("", vacuum, two_sided_tail(vacuum, dispersion), false_alarm)
    told = f"vacuum pulses click with {vacuum.rate:.4g}, dark counts make {vacuum.expected:.4g}"
    return _look(Monitor.VACUUM_GAIN, [(reading, told)])


def look_at_double_clicks(gates: Count, false_alarm: float = FALSE_ALARM, dispersion: float = 1.0) -> Look:
    """Compare gates in which both detectors clicked with what is expected, from both sides."""
    reading = _tested("", gates, two_sided_tail(gates, dispersion), false_alarm)
    told = f"{gates.events} gates clicked twice, {gates.trials * gates.expected:.4g} are expected"
    return _look(Monitor.DOUBLE_CLICKS, [(reading, told)])


def look_at_photocurrent(bright_gates: int) -> Look:
    """Refuse any gate in which the detectors drew a photocurrent; honest light never makes one."""
    reading = Reading("", bright_gates, limit=1, expected=0, unit="gates")
    alarm = None
    if bright_gates:
        alarm = Alarm(Monitor.PHOTOCURRENT, f"bright light fell on the detectors in {bright_gates} gates")
    return Look(Monitor.PHOTOCURRENT, (reading,), alarm)


def look_at_random_efficiency(
    switched_off: Count, false_alarm: float = FALSE_ALARM, dispersion: float = 1.0
) -> Look:
    """Refuse clicks that persist in gates without efficiency, beyond the dark counts, from above."""
    reading = _tested("", switched_off, upper_tail(switched_off, dispersion), false_alarm)
    told = (
        f"detectors that were switched off clicked {switched_off.events} times,"
        f" dark counts make {switched_off.trials * switched_off.expected:.4g}"
    )
    return _look(Monitor.RANDOM_EFFICIENCY, [(reading, told)])


def look_at_arrivals(
    early: tuple[int, int],
    late: tuple[int, int],
    clicks: int,
    shifted_share: float = 0.0,
    false_alarm: float = FALSE_ALARM,
) -> Look:
    """Look at the histogram of arrival times: too many clicks off the middle of the gate, or bits that lean there.

    `early` and `late` count clicks by bit, `clicks` all of them; `shifted_share` is what jitter makes on an honest
    link, 0..1. The values of bits raise an alarm, and are no reading: a reading is told of blocks with a key, too.
    """
    shifted = Count(sum(early) + sum(late), clicks, shifted_share)
    reading = _tested("early or late", shifted, upper_tail(shifted), false_alarm / _SHIFT_TESTS)
    told = f"{shifted.rate:.2%} of the clicks came early or late, {shifted_share:.2%} are expected"
    look = _look(Monitor.ARRIVAL_TIMES, [(reading, told)])
    if look.alarm:
        return look
    for when, bits in (("early", early), ("late", late)):
        ones = Count(bits[1], sum(bits), 0.5)
        if two_sided_tail(ones) < false_alarm / _SHIFT_TESTS:
            leaning = f"{ones.rate:.2%} of the {when} bits are 1, half are expected"
            return Look(look.monitor, look.readings, Alarm(look.monitor, leaning))
    return look


def look_at_watchdog(probe_photons: float, threshold_photons: float) -> Look:
    """Refuse light that shines into Alice's outlet; mean photon numbers per pulse."""
    reading = Reading("", probe_photons, threshold_photons, expected=0, unit="photons-per-pulse")
    alarm = None
    if probe_photons >= threshold_photons:
        alarm = Alarm(
            Monitor.OUTLET_WATCHDOG,
            f"light of {probe_photons:.4g} photons per pulse shines into Alice's outlet,"
            f" {threshold_photons:.4g} are too many",
        )
    return Look(Monitor.OUTLET_WATCHDOG, (reading,), alarm)


def _tested(of: str, count: Count, tail: float, limit: float) -> Reading:
    return Reading(of, count.rate, limit, count.expected, tail, trials=count.trials)


def _look(monitor: Monitor, tests: Sequence[tuple[Reading, str]]) -> Look:
    """Raise the alarm of the first reading that is beyond its limit, in the words beside it."""
    beyond = next((told for reading, told in tests if reading.is_beyond), None)
    alarm = None if beyond is None else Alarm(monitor, beyond)
    return Look(monitor, tuple(reading for reading, _ in tests), alarm)
