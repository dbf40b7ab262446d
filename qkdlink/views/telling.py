"""What the live view and Eve's console both say of a block."""

from qkdlink.common.journal.events import BlockEnded


def told_refusal(ended: BlockEnded) -> str:
    """Say why a block made no key, as fully as its node has."""
    return f"{ended.aborted} ({ended.detail})" if ended.detail else f"{ended.aborted}"


def percent(rate: float | None) -> str:
    """Return a rate as the tables show it."""
    return "-" if rate is None else f"{rate:.2%}"
