"""The place of a tag in its block, as bytes: who speaks, and at which checkpoint.

The transcript's heading names link, session and block, and its entries carry their lengths, so a statement that ends
in two bytes of place binds all five: no tag is valid at another place, in another block or in the other direction.
"""

import struct

_PLACE = struct.Struct(">BB")


def place(speaker: int, position: int) -> bytes:
    """Write the place of a checkpoint: 2 bytes."""
    return _PLACE.pack(speaker, position)
