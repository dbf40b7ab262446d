"""A node card: what an OpenPGP key says of a node, so that its certificate need not be known before.

    {"card": {"link", "node", "role", "begins", "ends", "certificate"}, "signature": "-----BEGIN PGP SIGNATURE-----..."}

The signature is detached and runs over a heading and the card's values in one canonical form, so that what was signed
is what was read. A card is public. Nothing on it is believed before `qkdlink.common.trust.web_of_trust` has verified
it.
"""

import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from qkdlink.common.errors import CredentialsError
from qkdlink.common.keys.identifiers import Name
from qkdlink.common.protocol.roles import Role
from qkdlink.common.text_files import text_of
from qkdlink.common.trust.certificates import dns_names
from qkdlink.common.trust.pki import Validity
from qkdlink.common.unique_json import refuse_repeated_members

NODE_CARD_FILE = "node-card.json"
LARGEST_CARD_BYTES = 64 * 1024

_HEADING = b"qkdlink node card v1\n"
"""Stands before what is signed, so that no other document that this key has signed is a card."""
_LARGEST_CERTIFICATE, _LARGEST_SIGNATURE = 16 * 1024, 8 * 1024
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

type _Time = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")
]
type _Pem = Annotated[str, StringConstraints(max_length=_LARGEST_CERTIFICATE, pattern=r"^[ -~\n]+$")]
type _Armour = Annotated[str, StringConstraints(max_length=_LARGEST_SIGNATURE, pattern=r"^[ -~\r\n]+$")]


class CardRole(StrEnum):
    """Which end of its link the node is."""

    ALICE = "alice"
    BOB = "bob"

    @classmethod
    def of(cls, role: Role) -> Self:
        """Return the role as it stands on a card."""
        return cls(role.word)


class NodeCard(BaseModel):
    """What is signed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    link: Name
    node: Name
    role: CardRole
    begins: _Time
    """UTC, to the second."""
    ends: _Time
    certificate: _Pem
    """One X.509 certificate in PEM form, for the node's name."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if _time(self.begins) >= _time(self.ends):
            raise ValueError("a card ends after it begins")
        if self.node not in dns_names(self._x509()):
            raise ValueError("the certificate is for another name than the card")
        return self

    @classmethod
    def about(cls, link: str, node: str, role: CardRole, validity: Validity, certificate: bytes) -> Self:
        """Write a card that is to be signed; `certificate` is in PEM form. CredentialsError if the values do not do."""
        begins, ends = (
            each.astimezone(UTC).strftime(_TIME_FORMAT) for each in (validity.begins, validity.ends)
        )
        try:
            return cls(
                link=link,
                node=node,
                role=role,
                begins=begins,
                ends=ends,
                certificate=certificate.decode("ascii"),
            )
        except ValueError as error:
            raise CredentialsError(
                f"no card can be made for the node {node} of {link}: {_why(error)}"
            ) from error

    @property
    def user_id(self) -> str:
        """The OpenPGP user id that an introducer has to have certified."""
        return user_id(self.link, self.node)

    @property
    def certificate_der(self) -> bytes:
        """The certificate in DER form."""
        return self._x509().public_bytes(Encoding.DER)

    def signed_bytes(self) -> bytes:
        """Return what the signature runs over: the heading, then the values, sorted, without spaces, in ASCII."""
        values = self.model_dump(mode="json")
        return _HEADING + json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii")

    def check_time(self, now: datetime) -> None:
        """Refuse, with a CredentialsError, a card that is not valid at the time `now` (aware)."""
        if now >= _time(self.ends):
            raise CredentialsError(f"the card of {self.node} expired at {self.ends}: make a new one")
        if now < _time(self.begins):
            raise CredentialsError(
                f"the card of {self.node} is not valid before {self.begins}: compare the clocks of both ends"
            )

    def _x509(self) -> x509.Certificate:
        found = x509.load_pem_x509_certificates(self.certificate.encode("ascii"))
        if len(found) != 1:
            raise ValueError("a card has one certificate")
        return found[0]


class SignedCard(BaseModel):
    """A card and its signature, as they stand in a file and go over the line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: NodeCard
    signature: _Armour
    """Detached, in OpenPGP's ASCII armour."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a card that may be anybody's; CredentialsError, in one sentence, if it is none."""
        if len(data) > LARGEST_CARD_BYTES:
            raise CredentialsError(f"a node card has at most {LARGEST_CARD_BYTES} bytes")
        try:
            refuse_repeated_members(data)
            return cls.model_validate_json(data)
        except ValueError as error:
            raise CredentialsError(f"this is not a node card: {_why(error)}") from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a card from a file; CredentialsError, naming the file, if there is none."""
        try:
            with path.open("rb") as file:
                data = text_of(file.read(LARGEST_CARD_BYTES + 1), path, CredentialsError).encode()
        except OSError as error:
            raise CredentialsError(
                f"the node card {path} cannot be read ({error.strerror}): make one with `qkdlink web-of-trust card`"
            ) from error
        try:
            return cls.parse(data)
        except CredentialsError as error:
            raise CredentialsError(f"{path}: {error}") from error

    def to_bytes(self) -> bytes:
        """Return the card as a file holds it."""
        return (self.model_dump_json(indent=2) + "\n").encode("ascii")


def user_id(link: str, node: str) -> str:
    """Name a node's OpenPGP key: who certifies this user id says that the key is the key of this node of this link."""
    return f"qkdlink node {node} of {link}"


def _time(text: str) -> datetime:
    return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=UTC)


def _why(error: ValueError) -> str:
    """Say the first fault, and of a stranger's text nothing but the names of our own fields."""
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_url=False, include_input=False)[0]
    known = {*NodeCard.model_fields, *SignedCard.model_fields}
    place = ".".join(str(part) for part in fault["loc"] if part in known)
    message = re.sub(r"^Value error, ", "", fault["msg"])
    return f"{place}: {message}" if place else message
