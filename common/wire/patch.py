"""The emulated patch panel: one retained message that says through whose hands light and words go, and what shines in.

It is untrusted input that moves bytes and nothing else: both entries come from a closed list, and the addresses that
belong to them stand in the settings of the nodes' apparatus. Whoever is plugged in by it still has to know a key.
"""

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qkdlink.common.unique_json import refuse_repeated_members

LONGEST_PATCH_BYTES = 256

type Route = Literal["direct", "eve"]
ROUTES: tuple[Route, ...] = get_args(Route.__value__)
"""The closed list of ways that a panel can name; where each leads to is said in the settings of an apparatus."""


class Patch(BaseModel):
    """Which way light goes from Alice to Bob, which way the classical line, and what shines into Alice's outlet."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    light: Route = "direct"
    classical: Route = "direct"
    probe_photons: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] = 0.0
    """Mean photon number per pulse of a light that Eve shines against the current, into Alice's outlet."""

    @model_validator(mode="after")
    def _shines_from_somewhere(self) -> Self:
        if self.probe_photons and self.light == "direct":
            raise ValueError("nobody is on the fibre who could shine into the outlet")
        return self

    @property
    def routes(self) -> tuple[Route, Route]:
        """The way of light and the way of words."""
        return self.light, self.classical

    def encode(self) -> bytes:
        """Write the message."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, payload: bytes | memoryview) -> "Patch | None":
        """Read a message; an empty one, by which a broker forgets what it retained, is direct. None if it is none."""
        if not payload:
            return DIRECT
        if len(payload) > LONGEST_PATCH_BYTES:
            return None
        try:
            refuse_repeated_members(bytes(payload))
            return cls.model_validate_json(bytes(payload))
        except ValueError:  # pydantic's are of this kind
            return None


DIRECT = Patch()
