"""Events as a node tells them, for tests that care for some of their fields."""

from qkdlink.common.journal.events import BlockEnded


def block_ended(
    number: int = 1,
    secret_bits: int = 0,
    aborted: str | None = "qber-above-tolerated",
    detail: str | None = "25 % of the test bits differ",
) -> BlockEnded:
    """The account of a block: refused, unless it has secret bits."""
    refused = not secret_bits
    return BlockEnded(
        block_id=f"link/{number}",
        number=number,
        pulses=1000,
        detections=300,
        sifted_bits=150,
        qber_key=None if refused else 0.01,
        qber_test=0.25 if refused else 0.012,
        gains={"signal": 0.3},
        leaked_bits=0,
        efficiency=None,
        secret_bits=secret_bits,
        aborted=aborted if refused else None,
        detail=detail if refused else None,
        authenticated_by="wegman-carter",
        exchanges=0,
        classical_bytes=0,
        authentication_bytes=0,
        authentication_seconds=0.0,
        seconds=0.1,
    )
