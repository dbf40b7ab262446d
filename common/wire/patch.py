"""The emulated patch panel: one retained message that says through whose hands light and words go.

It is untrusted input that moves bytes and nothing else: both entries come from a closed list, and the addresses that
belong to them stand in the settings of the nodes' apparatus. Whoever is plugged in by it still has to know a key.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

LONGEST_PATCH_BYTES = 256

type Route = Literal["direct", "eve"]


class Patch(BaseModel):
    """Which way light goes from Alice to Bob, and which way the classical line."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    light: Route = "direct"
    classical: Route = "direct"

    def encode(self) -> bytes:
        """Write the message."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, payload: bytes) -> "Patch | None":
        """Read a message; an empty one, by which a broker forgets what it retained, is direct. None if it is none."""
        if not payload:
            return DIRECT
        if len(payload) > LONGEST_PATCH_BYTES:
            return None
        try:
            return cls.model_validate_json(payload)
        except ValidationError:
            return None


DIRECT = Patch()
