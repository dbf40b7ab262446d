"""What Alice's station asks of her settings before she does anything."""

from types import SimpleNamespace


def idle_settings() -> SimpleNamespace:
    """Settings of an Alice who begins nothing by herself."""
    return SimpleNamespace(
        rekey_blocks=1,
        rekey_seconds=1.0,
        blocks=0,
        blocks_in_flight=2,
        backoff_first_s=1.0,
        backoff_longest_s=600.0,
    )
