"""The record of a block: what it started from, what each stage removed and why, what was charged, and what is left.

Both nodes tell one at the end of every block, with a key or without, beside `block-ended`. A view, an export, a
certificate and a check of the length are projections of it and need nothing else.

Nothing in it helps to guess a bit of a key. Counts per class and basis, corrected errors, disclosed parities, units of
tags and lengths are said in clear on the classical line, and the bound is computed from them by a published formula.
What one node alone knows is Bob's counts of his monitors and the time. They are sums over a whole block: no gate is
named, and where a monitor looks at the bits of clicks, their values are left out. No error position, no bit, no seed
and no tag has a field here.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from qkdlink.common.journal.event import Event, Part

MOST_RECORD_BYTES = 8192
"""How long the JSON of a record may be: it has to fit into one message of a broker, and 4096 of them into memory."""

type Role = Annotated[str, Field(pattern="^(alice|bob)$")]
type Natural = Annotated[int, Field(ge=0)]
type Share = Annotated[float, Field(ge=0, le=1)]
type Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
type Failure = Annotated[float, Field(gt=0, lt=1)]
type Name = Annotated[str, Field(max_length=128)]
type PerClass = Annotated[tuple[Natural, ...], Field(max_length=8, strict=False)]
"""One count per intensity class, strongest first; empty while it is not known."""


class RecordedParameters(Part):
    """What both sides had agreed on before light, as far as it decides the length."""

    protocol: Name
    block_pulses: Natural
    """Pulses per block, fixed before the first is sent."""
    intensities: Annotated[tuple[Amount, ...], Field(max_length=8, strict=False)]
    """Mean photon number of each class, strongest first; empty for the single-photon source."""
    probabilities: Annotated[tuple[Share, ...], Field(max_length=8, strict=False)]
    """Probability of each class."""
    key_basis_probability: Share
    expected_qber: Share
    tolerated_qber: Share | None
    """Largest error rate of the test basis that makes a key; null where the bound needs none."""
    eps_sec: Failure
    eps_cor: Failure
    switched_off_probability: Share
    monitors_off: Annotated[tuple[Name, ...], Field(max_length=16, strict=False)]
    reproducible: bool


class BlockCounts(Part):
    """Events per intensity class, strongest first, as far as the node came to know them."""

    pulses: Natural
    """Of the block's light; 0 if it never began."""
    emitted: PerClass = ()
    """Pulses of each class."""
    detected: PerClass = ()
    """Gates that clicked, over all pairs of bases."""
    key_detections: PerClass = ()
    """Clicks in which both had chosen the key basis."""
    test_detections: PerClass = ()
    """Clicks in which both had chosen the test basis."""
    test_errors: PerClass = ()
    """Differences among these, which both have shown."""
    key_errors: PerClass = ()
    """Errors that reconciliation has corrected in the key basis."""


class Removal(Part):
    """What a stage took off; the removals of a block and its secret bits add up to its pulses."""

    stage: Name
    """As in the two columns."""
    reason: Name
    """`no-click`, `bases-differ`, `test-basis`, `privacy-amplification`, or why the block was given up here."""
    events: Natural
    """Pulses, then detections, then bits of the sifted key."""


class Charges(Part):
    """What Eve may know of the sifted key through what was said, in bits."""

    disclosed_parities: Natural
    verification_tag_bits: Natural
    """Length of the tag; the bound pays log2(2 / eps_cor) bits of it."""
    tag_surplus_bits: Natural
    """What the tag costs beyond that."""
    leaked_bits: Natural
    """Parities and surplus, as the bound is given them."""


class BoundTerms(Part):
    """What the length was added up from, unrounded: events of entropy, and bits that were taken off."""

    failure_terms: Natural
    """How many equal failure probabilities share eps_sec."""
    vacuum_events: Amount
    """Key-basis detections that came from no photon, at least."""
    single_photon_events: Amount
    """Key-basis detections that came from one photon, at least."""
    test_single_photon_events: Amount
    """The same of the test basis."""
    test_single_photon_errors: Amount
    """Errors among these, at most."""
    phase_error_rate: Annotated[float, Field(ge=0, le=0.5)]
    """Of the single photons of the key basis, at most."""
    phase_error_bits: Amount
    """What these errors may have told Eve: events times the entropy of the rate."""
    secrecy_bits: float
    """What the failure probabilities of secrecy cost."""
    correctness_bits: float
    """What the bound pays for the verification tag."""


class RecordedBound(Part):
    """The bound on the length, with everything that it was computed from: enough for `qkdlink keyrate`."""

    method: Name
    """As `qkdlink keyrate` calls it."""
    sampling: Literal["exact", "published"]
    """How errors of the test basis are carried over to the key basis."""
    when: Literal["estimate", "amplify"]
    """At `estimate`, nothing is charged for reconciliation yet: it is the best that could become of the block."""
    eps_sec: Failure
    eps_cor: Failure
    tolerated_qber: Share | None
    """The rate that stands for the test basis; null where errors are counted per class."""
    key_detections: PerClass
    key_errors: PerClass
    """Empty before reconciliation."""
    test_detections: PerClass
    test_errors: PerClass
    """As charged: with `qber-per-basis` turned off, those of both bases together, spread over both."""
    leaked_bits: Natural
    terms: BoundTerms | None
    """Null where the counts make no key before anything is added up."""
    length_bits: Annotated[float, Field(allow_inf_nan=False)] | None
    """The length before it is rounded down; null where not one single photon is certain."""
    secret_bits: Natural
    contradiction: str
    """Why no source with these intensities gives these counts; else empty."""


class MonitorReading(Part):
    """One number that a monitor looked at."""

    of: Name
    """Which number, such as an intensity class or a basis; empty where there is but one."""
    value: Amount
    expected: Amount | None
    """Of an honest link, in the same unit."""
    unit: Literal["rate", "gates", "photons-per-pulse", "events"]
    trials: Natural | None
    """Of how many pulses, gates or bits a rate is, 0 where it says nothing; null for what is no rate."""
    tail: Share | None
    """Probability of lying as far off on an honest link; null where the value itself has a limit."""
    limit: Amount
    """The least tail that passes; without a tail, the value that raises the alarm."""


class MonitorRecord(Part):
    """What one monitor saw of the block."""

    name: Name
    on: bool
    readings: Annotated[tuple[MonitorReading, ...], Field(max_length=8, strict=False)]
    alarmed: bool
    """Whether a reading lay beyond its limit."""
    refused: bool
    """Whether this node has refused the block for it."""


class RecordedTrust(Part):
    """What the block's authenticity rests on."""

    anchor: Name
    """The trust anchor of the bootstrap that its keys go back to."""
    unauthenticated: bool
    """Whether that bootstrap was without authentication, or light was not watched: no application gets the key."""
    scheme: Name
    """What made the tags of this block."""
    epoch: Natural
    """The block whose key authenticates the line; 0 for the trust anchor."""
    checkpoints: Natural
    """Tags of both sides."""
    units_of_alice: Natural
    """Units of 256 bits that her tags have named."""
    units_of_bob: Natural
    tag_bits: Natural
    """Generated or carried key that these units have spent, of both sides."""
    classical_bytes: Natural
    """Of the block's conversation in both directions, without TLS."""


class RecordedOutcome(Part):
    """How the block ended at this node."""

    secret_bits: Natural
    """0 without a key."""
    reserve_bits: Natural
    """How many of them both sides have put aside for tags."""
    aborted: str | None
    """The reason, as in `block-ended`; null with a key."""
    detail: str | None
    by_peer: bool
    """Whether the peer has given the block up."""


class BlockRecord(Event):
    """The record of a block, with a key or without: counts, removals, charges, bound, monitors, trust and outcome."""

    type: Literal["block-record"] = "block-record"
    version: Literal[1] = 1
    software: Name
    """Version of qkdlink."""
    block_id: str
    number: Natural
    role: Role
    """Of the node that tells it."""
    began: Amount
    """Seconds since 1970, by the clock of this node."""
    ended: Amount
    parameters: RecordedParameters
    counts: BlockCounts
    removed: Annotated[tuple[Removal, ...], Field(max_length=16, strict=False)]
    """In the order of the stages."""
    exchanges: Natural
    """Questions and answers of reconciliation."""
    charged: Charges | None
    """Null before the key was verified."""
    bound: RecordedBound | None
    """The last length that this node has computed; null where it came to none."""
    monitors: Annotated[tuple[MonitorRecord, ...], Field(max_length=16, strict=False)]
    """Those that this node has come to look at; one that is off is among them."""
    trust: RecordedTrust
    outcome: RecordedOutcome

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        accounted = self.outcome.secret_bits + sum(each.events for each in self.removed)
        if accounted != self.counts.pulses:
            raise ValueError(f"{self.counts.pulses} pulses were sent and {accounted} are accounted for")
        return self
