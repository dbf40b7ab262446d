"""How Alice reaches Bob under a link PSK, and what a node says of itself there."""

import secrets
from pathlib import Path

from qkdlink.common.keys.derivation import key_id, link_psk, psk_identity
from qkdlink.common.keys.identifiers import BlockId
from qkdlink.common.node.settings import NodeSettings
from qkdlink.common.protocol.greeting import Introduction
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.psk import AnyConnection, dial_psk

MOST_KEYS_TRIED = 4
"""How many link PSKs are offered, newest first, before the line is given up for a while."""


async def dial_with_key(
    settings: NodeSettings, address: Address, block: BlockId, material: bytes, *, key_log: Path | None = None
) -> AnyConnection:
    """Connect under the link PSK of a block; LinkError or CredentialsError where that fails."""
    name = key_id(block)
    psk, identity = link_psk(material, settings.link, name), psk_identity(settings.link, name)
    return await dial_psk(address.host, address.port, identity, psk, settings.peer, key_log=key_log)


def introduction(settings: NodeSettings) -> Introduction:
    """Return what a node says of itself on a fresh connection."""
    return Introduction(
        link=settings.link,
        node=settings.node,
        peer=settings.peer,
        anchor=settings.trust.anchor,
        scheme=settings.authentication.scheme,
        parameters=settings.parameters,
        nonce=secrets.token_hex(16),
        most_blocks=settings.most_blocks,
    )
