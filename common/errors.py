"""What can go wrong, in one tree; the message of each error is the one sentence its user reads.

QkdlinkError
├── ConfigurationError       a setting, a file or a home is not what it has to be
│   └── DisagreementError    the peer was told something else about the link
├── CredentialsError         a certificate or key is missing, unreadable, expired or of somebody else
│   └── UnprovenRefusalError     the peer seems to refuse ours, which anybody on the line can feign
├── LinkError                the broker, the peer or the network is not there
├── StarvationError          no key is left to authenticate with
├── LocalProtocolError       we broke a rule of the protocol
└── RemoteProtocolError      they broke a rule of the protocol
    └── OutdatedStoreError       a key store was put back from a copy, here or at the peer

That nature or policy says no to a block is not an error but a value: `qkdlink.common.protocol.aborts.Aborted`.
"""


class QkdlinkError(Exception):
    """Something the user can act upon; printed as one line, with the details under --verbose."""


class ConfigurationError(QkdlinkError):
    """A setting, a file or a home folder is not what it has to be."""


class DisagreementError(ConfigurationError):
    """The peer names another link, name, version or parameter; it ends a node only until the bootstrap has closed."""


class CredentialsError(QkdlinkError):
    """A certificate, a private key or a shared secret cannot be used."""


class UnprovenRefusalError(CredentialsError):
    """The line ended in a handshake as it does when the peer refuses us; anybody on the line can bring that about."""


class LinkError(QkdlinkError):
    """The broker, the peer or the network between them is not there."""


class StarvationError(QkdlinkError):
    """No generated key is left to authenticate with: the link stops rather than go on with less."""


class LocalProtocolError(QkdlinkError):
    """This node was about to break a rule of the protocol; nothing was sent and nothing has changed."""


class RemoteProtocolError(QkdlinkError):
    """The peer broke a rule of the protocol; the message was refused and nothing has changed."""


class OutdatedStoreError(RemoteProtocolError):
    """One of the two key stores is older than what the other side has seen of it: it was put back from a copy."""
