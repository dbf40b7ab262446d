"""From a node's settings to its anchor: files are read and checked once, at the start."""

from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never

from qkdlink.common.node.anchors.anchor import Anchor
from qkdlink.common.node.anchors.nobody import NobodyAnchor
from qkdlink.common.node.anchors.pki import PkiAnchor
from qkdlink.common.node.anchors.preshared import PresharedAnchor
from qkdlink.common.node.anchors.web_of_trust import WebOfTrustAnchor
from qkdlink.common.node.settings import NodeSettings
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.tls import dialler_context
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.trust.credentials import CredentialFiles, NodeCredentials
from qkdlink.common.trust.preshared import PresharedSecret


def open_anchor(settings: NodeSettings, folder: Path, role: Role) -> Anchor:
    """Open the anchor that is configured; ConfigurationError or CredentialsError if its files do not do."""
    key_log = settings.laboratory.key_log_in(folder)
    match settings.trust.anchor:
        case AnchorName.PKI:
            return PkiAnchor(role, settings.peer, _credentials(settings, folder), key_log)
        case AnchorName.PSK:
            return _preshared(settings, folder, role)
        case AnchorName.WEB_OF_TRUST:
            return WebOfTrustAnchor.open(settings, folder, role)
        case AnchorName.NONE:
            return NobodyAnchor(settings.peer, key_log)
        case _ as never:
            assert_never(never)


def _preshared(settings: NodeSettings, folder: Path, role: Role) -> PresharedAnchor:
    file = folder / settings.trust.pre_shared_key
    return PresharedAnchor(
        role,
        settings.link,
        settings.node,
        settings.peer,
        settings.authentication.scheme,
        file,
        PresharedSecret.load(file),
        settings.laboratory.key_log_in(folder),
    )


def _credentials(settings: NodeSettings, folder: Path) -> NodeCredentials:
    names = settings.credentials
    files = CredentialFiles(
        folder / names.certificate,
        folder / names.private_key,
        folder / names.authority,
        folder / settings.trust.revocations,
    )
    credentials = NodeCredentials.load(files, settings.node, datetime.now(UTC))
    dialler_context(credentials)  # what the TLS library cannot do is said at the start, too
    return credentials
