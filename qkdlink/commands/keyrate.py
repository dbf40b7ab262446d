"""The finite-key calculator for anyone: counts of a block in, the length of its secret key out.

`keyrate` takes the text of a JSON object, `{"method": "rusca2018" | "lim2014" | "tomamichel2012", ...}`, and
knows nothing of this project's links: counts may come from a paper, a laboratory or another program. Unless
`"sampling": "exact"` is asked for, each method is computed as its paper prints it, and the answer says what exact
sampling gives.
"""

import json
from collections.abc import Sequence
from math import fsum
from textwrap import shorten
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from qkdlink.commands.recorded_block import keyrate_input, record_in
from qkdlink.common.distillation.decoy import ContradictoryCountsError
from qkdlink.common.distillation.finite_key import (
    KeyLength,
    Statistics,
    one_decoy_length,
    single_photon_length,
    two_decoy_length,
)
from qkdlink.common.distillation.sampling import Sampling
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.unique_json import members_once
from qkdlink.common.value_faults import value_fault

_PROBABILITY_SLACK = 1e-6
"""How far the probabilities' sum may lie from 1: decimal fractions are rounded when they are written down."""

_SMALLEST_DECOY = 1e-9
"""Below it a decoy is a vacuum to a double, and the bounds divide by it."""

_SMALLEST_PROBABILITY = 1e-12
"""Below it no block is long enough to send the class even once, and the bounds divide by it."""

_SMALLEST_FAILURE = 1e-300
"""Below it a double no longer holds the fraction of a failure probability that each bound may use."""


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)  # 1e9 is how people write a count, and JSON reads it as a float
    return value


def _sent_at_all(probability: float) -> float:
    if not _SMALLEST_PROBABILITY <= probability <= 1.0:
        raise ValueError(f"the probability of a class lies above 0 and not above 1, not at {probability}")
    return probability


def _failure_probability(value: float) -> float:
    if not 0.0 < value < 1.0:
        raise ValueError(f"a failure probability lies between 0 and 1, not at {value}")
    if value < _SMALLEST_FAILURE:
        raise ValueError(f"a failure probability below {_SMALLEST_FAILURE} cannot be computed with")
    return value


type Count = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=10**15)]
"""A number of events or bits; above 10^15 a double no longer tells neighbours apart."""

type Intensity = Annotated[float, Field(strict=True, ge=0, le=100)]
"""Mean photon number of a pulse."""

type ClassProbability = Annotated[float, Field(strict=True), AfterValidator(_sent_at_all)]
"""How often an intensity is sent; a class that is never sent has no place in the list."""

type Failure = Annotated[float, Field(strict=True), AfterValidator(_failure_probability)]
"""A failure probability above 0 and below 1."""

type PerClass[T] = tuple[T, ...]
"""One value per intensity class, strongest first."""


class _Input(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Method(_Input):
    """What every method takes besides its counts."""

    leaked_bits: Count
    eps_sec: Failure
    eps_cor: Failure
    sampling: Sampling = Sampling.PUBLISHED


class BasisCounts(_Input):
    """Detections, and errors among them, of one basis per intensity class."""

    detections: PerClass[Count]
    errors: PerClass[Count]

    @model_validator(mode="after")
    def _errors_are_detections(self) -> Self:
        _refuse_more_errors(self.errors, self.detections)
        return self


class KeyBasisCounts(_Input):
    """As `BasisCounts`; the errors are known after error correction only, and not every method needs them."""

    detections: PerClass[Count]
    errors: PerClass[Count] | None = None

    @model_validator(mode="after")
    def _errors_are_detections(self) -> Self:
        if self.errors is not None:
            _refuse_more_errors(self.errors, self.detections)
        return self


class _DecoyInput(_Method):
    """What both decoy methods need to know of a block."""

    intensities: PerClass[Intensity]
    probabilities: PerClass[ClassProbability]
    key_basis: KeyBasisCounts
    test_basis: BasisCounts

    @property
    def statistics(self) -> Statistics:
        """The counts as the bounds take them."""
        return Statistics(
            self.intensities,
            self.probabilities,
            self.key_basis.detections,
            self.key_basis.errors,
            self.test_basis.detections,
            self.test_basis.errors,
        )

    def _check_classes(self, class_count: int) -> None:
        lists: dict[str, Sequence[float] | None] = {
            "intensities": self.intensities,
            "probabilities": self.probabilities,
            "key_basis.detections": self.key_basis.detections,
            "key_basis.errors": self.key_basis.errors,
            "test_basis.detections": self.test_basis.detections,
            "test_basis.errors": self.test_basis.errors,
        }
        for name, values in lists.items():
            if values is not None and len(values) != class_count:
                raise ValueError(f"{name} needs {class_count} values, one per intensity, not {len(values)}")
        if any(low >= high for high, low in zip(self.intensities, self.intensities[1:], strict=False)):
            raise ValueError("the intensities have to stand in descending order, no two equal")
        if abs(fsum(self.probabilities) - 1.0) > _PROBABILITY_SLACK:
            raise ValueError(f"the probabilities sum to {fsum(self.probabilities):.9g}, not to 1")


class Lim2014(_DecoyInput):
    """A two-decoy block; PRA 89, 022307 (2014)."""

    method: Literal["lim2014"]

    @model_validator(mode="after")
    def _two_decoys(self) -> Self:
        self._check_classes(3)
        mu1, mu2, mu3 = self.intensities
        if mu1 <= mu2 + mu3:
            raise ValueError("the first intensity has to exceed the sum of the other two")
        if mu2 < _SMALLEST_DECOY:
            raise ValueError(f"the second intensity has to be at least {_SMALLEST_DECOY}")
        return self

    def length(self, sampling: Sampling) -> KeyLength:
        """The finite-key length of this block."""
        return two_decoy_length(self.statistics, self.leaked_bits, self.eps_sec, self.eps_cor, sampling)


class Rusca2018(_DecoyInput):
    """A one-decoy block; APL 112, 171104 (2018)."""

    method: Literal["rusca2018"]

    @model_validator(mode="after")
    def _one_decoy(self) -> Self:
        self._check_classes(2)
        if self.intensities[1] < _SMALLEST_DECOY:
            raise ValueError(f"the second intensity has to be at least {_SMALLEST_DECOY}: no vacuum here")
        if self.key_basis.errors is None:
            raise ValueError("this method needs key_basis.errors, the errors corrected in the key basis")
        return self

    def length(self, sampling: Sampling) -> KeyLength:
        """The finite-key length of this block."""
        return one_decoy_length(self.statistics, self.leaked_bits, self.eps_sec, self.eps_cor, sampling)


class Tomamichel2012(_Method):
    """A single-photon block that passed its test; Nat. Commun. 3, 634 (2012)."""

    method: Literal["tomamichel2012"]
    key_bits: Count
    test_bits: Count
    tolerated_qber: Annotated[float, Field(strict=True, ge=0, le=1)]

    def length(self, sampling: Sampling) -> KeyLength:
        """The finite-key length of this block."""
        return single_photon_length(
            self.key_bits,
            self.test_bits,
            self.tolerated_qber,
            self.leaked_bits,
            self.eps_sec,
            self.eps_cor,
            sampling,
        )


type KeyrateInput = Annotated[Lim2014 | Rusca2018 | Tomamichel2012, Field(discriminator="method")]

_METHODS = ("lim2014", "rusca2018", "tomamichel2012")

_INPUT: TypeAdapter[Lim2014 | Rusca2018 | Tomamichel2012] = TypeAdapter(KeyrateInput)


class KeyrateResult(BaseModel):
    """What the calculator answers; see `qkdlink.common.distillation.finite_key.KeyLength`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret_bits: int
    single_photon_events: float
    phase_error_rate: float
    sampling: Sampling
    """How the errors of the test basis were carried over to the key basis."""
    exact_secret_bits: int
    """The length with exact sampling."""
    warning: str | None
    """One sentence where `secret_bits` exceeds that; else null."""


def keyrate(text: str) -> KeyrateResult:
    """The secret key length of the block that the JSON object `text` describes.

    A line of a journal that holds the record of a block gives that block's length to the bit.
    ConfigurationError, one sentence, for anything that is not such an object: unknown methods and fields,
    wrong order or number of classes, counts that cannot be, numbers that are none.
    """
    try:
        described = _parse(text)
        record = record_in(described)
        block = _INPUT.validate_python(described if record is None else keyrate_input(record))
        length, exact = block.length(block.sampling), block.length(Sampling.EXACT)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error)) from None
    except ContradictoryCountsError as error:
        raise ConfigurationError(f"keyrate input: {error}") from None
    return KeyrateResult(
        secret_bits=length.secret_bits,
        single_photon_events=length.single_photon_events,
        phase_error_rate=length.phase_error_rate,
        sampling=block.sampling,
        exact_secret_bits=exact.secret_bits,
        warning=_warning(length.secret_bits, exact.secret_bits),
    )


def _warning(published: int, exact: int) -> str | None:
    if published <= exact:
        return None
    return (
        f"the published formula gives {published - exact} bits more than exact sampling: with few test errors it is no"
        ' bound, so ask for "sampling": "exact" unless you reproduce a paper'
    )


def _parse(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text, object_pairs_hook=members_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"keyrate input: not a JSON object ({error})") from None
    if not isinstance(parsed, dict):
        raise ConfigurationError("keyrate input: not a JSON object")
    return cast("dict[str, Any]", parsed)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number")


def _refuse_more_errors(errors: Sequence[int], detections: Sequence[int]) -> None:
    if any(wrong > clicked for wrong, clicked in zip(errors, detections, strict=False)):
        raise ValueError("errors exceed detections")


def _sentence(error: ValidationError) -> str:
    """The first complaint about the input, as one line that names the field."""
    complaint = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in complaint["loc"] if part not in _METHODS)
    # Field names are the user's own: they may be long, and run over several lines.
    where = f", {shorten(field, 60, placeholder='...')}" if field else ""
    return f"keyrate input{where}: {_reason(complaint)}"


def _reason(complaint: ErrorDetails) -> str:
    match complaint["type"]:
        case "missing":
            return "this field is missing"
        case "extra_forbidden":
            return "there is no such field"
        case "union_tag_not_found":
            return f'the field "method" is missing (known methods: {", ".join(_METHODS)})'
        case "union_tag_invalid":
            return f"unknown method {shorten(complaint['ctx']['tag'], 40)} (known: {', '.join(_METHODS)})"
        case "model_type":
            return "this has to be an object"
        case "value_error":
            return str(complaint["ctx"]["error"])
        case _:
            return value_fault(complaint, str(complaint["loc"][-1]) if complaint["loc"] else "")
