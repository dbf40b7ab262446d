"""What both nodes have to agree on before light: compared field by field when they greet each other."""

import json
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.distillation.reconciliation.schedule import Pace
from qkdlink.common.distillation.verification import verification_tag_bits
from qkdlink.common.errors import ConfigurationError, RemoteProtocolError
from qkdlink.common.optics.detector import DetectorSettings
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.source import Source
from qkdlink.common.optics.watchful_receiver import check_switched_off_probability
from qkdlink.common.protocol.variants.catalogue import known_name, variant_named
from qkdlink.common.protocol.variants.variant import Variant
from qkdlink.common.unique_json import refuse_repeated_members

type Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
SMALLEST_EPSILON = 1e-30
type Epsilon = Annotated[float, Field(ge=SMALLEST_EPSILON, lt=1, allow_inf_nan=False)]
"""A failure probability; below 1e-30 neither tags nor bounds are computed any more."""

LARGEST_BLOCK = 2**32

type ProtocolName = Annotated[str, AfterValidator(known_name)]
"""The name of a protocol of `qkdlink.common.protocol.variants.catalogue`."""


class LinkParameters(BaseModel):
    """Everything that must be the same on both sides of a link."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: ProtocolName
    block_pulses: Annotated[int, Field(ge=1, le=LARGEST_BLOCK)]
    """Pulses per block, fixed before the first is sent."""
    intensities: tuple[float, ...]
    """Mean photon number of each class, strongest first; empty for the single-photon source."""
    probabilities: tuple[float, ...]
    """Probability of each class, in multiples of 1/256."""
    key_basis_probability: Fraction
    """Probability of the key basis at Alice and at Bob, in multiples of 1/128."""
    expected_qber: Fraction
    """Error rate that reconciliation starts from while nothing better is known."""
    reconciliation_pace: Pace = Pace.EXCHANGES
    """What is spared: exchanges; parities, in two to three times as many; or, over a distance, most exchanges."""
    tolerated_qber: Fraction | None = None
    """Largest test-basis error rate that still makes a key; single-photon protocol only."""
    eps_sec: Epsilon = 1e-9
    """Secrecy: distance of the key from an ideal one."""
    eps_cor: Epsilon = 1e-15
    """Correctness: probability that the keys differ and nobody notices."""
    switched_off_probability: float = 0.0
    """How often Bob turns his detectors off in a gate chosen in secret, in multiples of 1/256: `random-efficiency`."""
    monitors_off: tuple[Monitor, ...] = ()
    """Monitors that look away, in order; each is a door, opened to watch who comes in."""
    fibre: Fibre
    detector: DetectorSettings
    reproducible: bool = False
    """True in a seeded run, whose keys anybody with the seed can compute."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        variant = self.variant
        expected = variant.class_count
        given = len(self.probabilities)
        if given != expected or (len(self.intensities) or 1) != expected:
            raise ValueError(f"{self.protocol} needs {expected} intensities with a probability each")
        if (self.tolerated_qber is None) != (variant.honest_abort is None):
            wanted = "has no" if variant.honest_abort is None else "needs a"
            raise ValueError(f"{self.protocol} {wanted} tolerated_qber")
        variant.check_intensities(self.intensities)
        if list(self.monitors_off) != sorted(set(self.monitors_off)):
            raise ValueError("monitors_off names each monitor once, in alphabetical order")
        check_switched_off_probability(self.switched_off_probability)
        _ = self.source
        _ = verification_tag_bits(self.block_pulses, self.eps_cor)
        return self

    @property
    def variant(self) -> Variant:
        """The protocol, with its bound and its classes."""
        return variant_named(self.protocol)

    @property
    def source(self) -> Source:
        """Alice's source under these parameters."""
        return self.variant.source(self.intensities, self.probabilities, self.key_basis_probability)

    @property
    def class_count(self) -> int:
        """Number of intensity classes."""
        return len(self.probabilities)

    def canonical(self) -> str:
        """One text per set of parameters: JSON with sorted keys."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


def differences(ours: LinkParameters, theirs: str) -> list[str]:
    """Name every field in which the peer's parameters (canonical JSON) differ from ours, with both values."""
    try:
        refuse_repeated_members(theirs)
        other = LinkParameters.model_validate_json(theirs)
    except (ValueError, ConfigurationError) as error:
        raise RemoteProtocolError("The peer's parameters are not those of a link of this version.") from error
    mine, yours = _flat(ours.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
    return [
        f"{name} is {mine.get(name)} here and {yours.get(name)} there"
        for name in sorted(mine | yours)
        if mine.get(name) != yours.get(name)
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
