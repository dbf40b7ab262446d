"""What a node is told in its configuration file; read once, at the start, and unknown keys are errors.

Paths are relative to the folder of the file. Every key can be overridden by an environment variable, such as
`QKDLINK_BROKER__ADDRESS` for `broker.address`. There is no seed among them: secrets of a node come from the
operating system.
"""

import tomllib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.identifiers import Name
from qkdlink.common.optics.seal import SEAL_KEY_BYTES
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.text_files import read_text
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.key_log import open_key_log
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.units import unit_in_toml
from qkdlink.common.value_faults import first_fault
from qkdlink.common.wire.patch import Route

CONFIGURATION_FILE = "node.toml"
ENVIRONMENT_PREFIX = "QKDLINK_"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


PlainAddress = Annotated[Address, NoDecode]
"""An address as it is written; without the mark an environment variable would have to quote it as JSON."""


class ClassicalSettings(_Section):
    """The classical channel: Alice dials, Bob listens."""

    address: PlainAddress
    """Where Bob listens with link PSKs: what he binds, and what Alice dials."""
    bootstrap_address: PlainAddress
    """Where he listens for whom the trust anchor lets in, until the latch closes; nobody listens there afterwards."""
    patience_s: Annotated[float, Field(gt=0, le=86400)] = 60.0
    """How long a silent peer is waited for."""


class BrokerSettings(_Section):
    """The broker that stands in for the quantum channel."""

    address: PlainAddress
    username: str | None = None
    """As whom to log in, where the broker has an access list."""
    client_id: str | None = None
    """By what name to connect; else the link's, the node's, and digits that nobody can guess."""
    password_file: Path | None = None
    authority: Path | None = None
    """Who vouches for the broker; with it the line is TLS. Never the authority that vouches for nodes."""
    certificate: Path | None = None
    """Who this node's apparatus is to a broker that asks for certificates; `private_key` goes with it."""
    private_key: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key go together")
        if self.certificate is not None and self.authority is None:
            raise ValueError("a certificate is shown to a broker over TLS only: name its authority, too")
        return self


class DialledPlace(_Section):
    """Where Alice dials on a way that is not the direct one."""

    address: PlainAddress
    bootstrap_address: PlainAddress


class WaySettings(_Section):
    """Where a way leads that the patch panel can name beside the direct one."""

    site: Name
    """At whose apparatus this node's leg of light ends; light and receipts have topics of that leg alone."""
    classical: DialledPlace | None = None
    """`address` and `bootstrap_address` that Alice dials instead of the peer's; words go that way only with them."""


class ApparatusSettings(_Section):
    """Where the patch panel's sockets lead: the emulated optics, not the protocol."""

    site: Name | None = None
    """Whose apparatus plays the node's part, by the name in topics; without it the apparatus is the site's own."""
    ways: dict[Route, WaySettings] = {}
    """The ways beside the direct one, by the names that the patch panel has for them: `[apparatus.ways.NAME]`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "direct" in self.ways:
            raise ValueError("the direct way leads to the peer and is no entry of ways")
        return self


class CredentialSettings(_Section):
    """Files that say who this node is and whom it believes; 0600 where they are secret."""

    certificate: Path = Path("certificate.pem")
    private_key: Path = Path("private-key.pem")
    authority: Path = Path("authority.pem")
    light_seal: Path = Path("light-seal.key")
    """The key of the emulated optics of this link, the same file at Alice, Bob and Eve."""


class TrustSettings(_Section):
    """Whom this node believes at the bootstrap."""

    anchor: AnchorName = AnchorName.PKI
    revocations: Path = Path("revocations.pem")
    """pki: the revocation lists of every authority of the chain."""
    pre_shared_key: Path = Path("pre-shared.key")
    """psk: the secret, in hexadecimal."""
    node_card: Path = Path("node-card.json")
    """web-of-trust: this node's card, signed by its OpenPGP key."""
    card_certificate: Path = Path("card-certificate.pem")
    """web-of-trust: the self-signed certificate that is on the card."""
    card_private_key: Path = Path("card-private-key.pem")
    """web-of-trust: its key."""
    keyring: Path = Path("gnupg")
    """web-of-trust: the GnuPG home with the keys that this node knows and its trust in their owners."""
    insecure_no_authentication: bool = False
    """Has to be true for the anchor `none`, and says what it means."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.anchor is AnchorName.NONE and not self.insecure_no_authentication:
            raise ValueError(
                "the anchor none needs insecure_no_authentication = true: nobody is authenticated"
            )
        return self


class LaboratorySettings(_Section):
    """What a node does for an experiment and never else."""

    tls_key_log: Path | None = None
    """Where the secrets of its TLS sessions are written, by which everything said on the classical line can be read."""
    insecure_tls_key_log: bool = False
    """Has to be true for a key log, and says what it means."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tls_key_log is not None and not self.insecure_tls_key_log:
            raise ValueError(
                "tls_key_log needs insecure_tls_key_log = true: whoever has the file reads the line"
            )
        return self

    def key_log_in(self, folder: Path) -> Path | None:
        """Return the key log of a node whose home is `folder`; ConfigurationError if it cannot be kept secret."""
        return None if self.tls_key_log is None else open_key_log(folder / self.tls_key_log)


class AuthenticationSettings(_Section):
    """How data is authenticated once there is generated key."""

    scheme: SchemeName = SchemeName.WEGMAN_CARTER


class ProgramSettings(BaseSettings):
    """What every process of a link is told."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__"
    )

    link: Name
    broker: BrokerSettings
    parameters: LinkParameters
    journal_to_stdout: bool = False
    """Whether every line of the journal is written to standard output, too: where that is what is kept of a program."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, and nothing else have a say."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


class NodeSettings(ProgramSettings, ABC):
    """What every node is told."""

    node: Name
    """The name of this node to its peer: in certificates, messages and keys."""
    peer: Name
    """The name of the other node."""
    site: Name | None = None
    """The name of this site, which stands in topics; without it, that of the node."""
    peer_site: Name | None = None
    """The name of the other site; without it, that of the peer."""
    classical: ClassicalSettings
    trust: TrustSettings = TrustSettings()
    authentication: AuthenticationSettings = AuthenticationSettings()
    credentials: CredentialSettings = CredentialSettings()
    apparatus: ApparatusSettings = ApparatusSettings()
    laboratory: LaboratorySettings = LaboratorySettings()
    journal: Path = Path("journal.jsonl")

    @property
    @abstractmethod
    def most_blocks(self) -> int:
        """How many blocks this node would have open at a time; the peer is told, and the smaller number counts."""

    @property
    def apparatus_site(self) -> str:
        """The site in the topics of this node's apparatus."""
        return self.apparatus.site or self.site or self.node

    @property
    def is_anothers_apparatus(self) -> bool:
        """Whether another's apparatus plays this node's part, which the patch panel does not concern."""
        return self.apparatus_site != (self.site or self.node)

    @property
    def light_legs(self) -> dict[Route, str]:
        """At which site this node's leg of light ends, by way."""
        return {
            "direct": self.peer_site or self.peer,
            **{route: way.site for route, way in self.apparatus.ways.items()},
        }

    @property
    def classical_ways(self) -> frozenset[Route]:
        """The ways that words can go."""
        ways = self.apparatus.ways.items()
        return frozenset({"direct", *(route for route, way in ways if way.classical is not None)})


def load_settings[S: ProgramSettings](kind: type[S], file: Path) -> S:
    """Read a configuration file; ConfigurationError, one sentence, if it is not a complete and valid one."""
    try:
        text = read_text(file)
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no configuration file {file}.") from error
    except OSError as error:
        raise ConfigurationError(
            f"The configuration file {file} cannot be read: {error.strerror}."
        ) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = unit_in_toml(text) or str(error)
        raise ConfigurationError(f"The configuration file {file} is not TOML: {reason}.") from error
    try:
        return kind(**values)
    except ConfigurationError as error:  # the optics refuse a combination of parameters in their own words
        raise ConfigurationError(
            f"The configuration file {file} says something in [parameters] that cannot be: {error}"
        ) from error
    except SettingsError as error:
        raise ConfigurationError(f"An environment variable QKDLINK_... makes no sense: {error}.") from error
    except ValidationError as error:
        raise ConfigurationError(f"The configuration file {file} says {first_fault(error)}.") from error


def read_secret_line(path: Path, what: str) -> str:
    """Read a secret that stands alone in a file; ConfigurationError unless only its owner can read it."""
    try:
        mode = path.stat().st_mode
        text = read_text(path).strip()
    except OSError as error:
        raise ConfigurationError(f"The {what} {path} cannot be read; make the link's home anew.") from error
    if mode & 0o077:
        raise ConfigurationError(f"The {what} {path} is open to others: run 'chmod 600 {path}'.")
    return text


def read_seal_key(path: Path) -> bytes:
    """Read the 32 bytes that seal the light of this link; ConfigurationError unless the file holds just these."""
    text = read_secret_line(path, "light seal")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != SEAL_KEY_BYTES:
        raise ConfigurationError(
            f"The light seal {path} does not hold {SEAL_KEY_BYTES} bytes in hexadecimal; make the link's home anew."
        )
    return key
