"""Eve at the broker: her name there, and the topic on which she is told what to do."""

from qkdlink.common.wire.topics import Topics

EVE = "eve"
"""Who she is at the broker, and by which name the patch panel calls the way through her."""


def control_topic(topics: Topics) -> str:
    """Commands for Eve, from her own console or another front end."""
    return f"qkd/{topics.link}/{EVE}/control"
