"""The nodes' authority on its two floors, and what it takes back.

    ca/                 the issuing authority: private-key.pem, certificate.pem
    ca/authority.pem    whom the nodes believe: the root's certificate
    ca/revocations.pem  the revocation lists of all, which every node needs
    ca/issued/          every certificate that was issued, by name
    root/ (in ca/)      the root: private-key.pem, certificate.pem; needed again only to revoke or renew the issuing one
    ca/revoked-.../     an issuing authority that was revoked

The root's folder can be taken away. A stolen issuing authority is then an accident and not the end: the root revokes
it and vouches for another, and no node has to be told of a new root. The lists are also the record of what is revoked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.algorithms import KeyAlgorithm, signature_hash
from qkdlink.common.trust.certificates import serial
from qkdlink.common.trust.pem import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    PRIVATE_KEY_FILE,
    REVOCATIONS_FILE,
    read_certificate,
    read_revocation_lists,
)
from qkdlink.common.trust.pki import (
    AUTHORITY_DAYS,
    CLOCK_SKEW,
    DEFAULT_AUTHORITY_NAME,
    ISSUED_FOLDER,
    Authority,
    Validity,
    issuer_identifier,
    lists_pem,
    pem,
    refuse_open_folder,
)
from qkdlink.common.trust.private_files import PUBLIC_MODE, NewFile, private_folder, write_new, write_over
from qkdlink.common.trust.revocation import common_name, is_signed_by

ROOT_FOLDER = "root"
ISSUING_DAYS = 1826
LIST_DAYS = 30
"""How long a list of the issuing authority is good: so long can a revocation be withheld from a node."""
ROOT_LIST_DAYS = 365
"""The root's list lasts longer, because its key is out of reach."""


@dataclass(frozen=True, slots=True)
class Made:
    """The certificates of a new authority."""

    root: x509.Certificate
    issuing: x509.Certificate


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The nodes' authority in `folder`; its root may have been taken to another place."""

    folder: Path
    root_folder: Path

    @classmethod
    def at(cls, folder: Path, root_folder: Path | None = None) -> "Hierarchy":
        """Return the authority in `folder`, whose root is in a folder of it unless another is named."""
        return cls(folder, root_folder or folder / ROOT_FOLDER)

    @property
    def lists_file(self) -> Path:
        """Where the revocation lists are."""
        return self.folder / REVOCATIONS_FILE

    def revoke(self, name_or_serial: str, days: int = LIST_DAYS) -> tuple[x509.Certificate, ...]:
        """Revoke what the issuing authority has issued to a name, or one certificate by its serial number.

        Returns what is revoked now. Raises CredentialsError if nothing of that name or number is known, or the disk
        refuses.
        """
        issuing = Authority.read(self.folder)
        doomed = tuple(each for each in self._issued(name_or_serial) if _is_issued_by(each, issuing))
        if not doomed:
            raise CredentialsError(
                f'the authority in {self.folder} has issued nothing to "{name_or_serial}" and nothing of that serial '
                "number: `qkdlink ca show` tells both"
            )
        self._replace_lists({issuing.certificate: _List(issuing, days, doomed)})
        return doomed

    def revoke_issuing(self) -> x509.Certificate:
        """Revoke the issuing authority itself, and with it all that it has issued; the root's key is needed.

        The revoked one is moved aside, its last list stays for good. Returns its certificate. Raises CredentialsError
        if the root is not at hand, does not vouch for it, or the disk refuses.
        """
        root, issuing = self._root(), Authority.read(self.folder)
        if not _is_issued_by(issuing.certificate, root):
            raise CredentialsError(
                f"the root in {self.root_folder} does not vouch for the authority in {self.folder}"
            )
        remaining = issuing.certificate.not_valid_after_utc - datetime.now(UTC)
        self._replace_lists(
            {
                root.certificate: _List(root, ROOT_LIST_DAYS, (issuing.certificate,)),
                issuing.certificate: _List(issuing, remaining.days),
            }
        )
        aside = self.folder / f"revoked-{serial(issuing.certificate)}"
        with private_folder(aside):
            for name in (PRIVATE_KEY_FILE, CERTIFICATE_FILE):
                _move(self.folder / name, aside / name)
        return issuing.certificate

    def renew_lists(self, days: int = LIST_DAYS) -> tuple[x509.CertificateRevocationList, ...]:
        """Issue the lists anew: the issuing authority's for `days`, and the root's if its key is at hand.

        Returns all lists, the root's first. Raises CredentialsError if the authority cannot be read, the root is not
        in the folder that was named for it, or the disk refuses.
        """
        issuing = Authority.read(self.folder)
        renewed = {issuing.certificate: _List(issuing, days)}
        named = self.root_folder != self.folder / ROOT_FOLDER
        if named or (self.root_folder / PRIVATE_KEY_FILE).exists():
            root = self._root()
            renewed = {root.certificate: _List(root, ROOT_LIST_DAYS), **renewed}
        return self._replace_lists(renewed)

    def _root(self) -> Authority:
        root = Authority.read(self.root_folder)
        if root.certificate != read_certificate(self.folder / AUTHORITY_FILE):
            raise CredentialsError(f"{self.root_folder} is not the root of the authority in {self.folder}")
        return root

    def _issued(self, name_or_serial: str) -> tuple[x509.Certificate, ...]:
        records = sorted((self.folder / ISSUED_FOLDER).glob("*/*.pem"))
        wanted = name_or_serial.lower().removeprefix("0x")
        return tuple(
            read_certificate(path)
            for path in records
            if path.parent.name == name_or_serial or path.stem == wanted
        )

    def _replace_lists(
        self, renewed: "Mapping[x509.Certificate, _List]", added: "Sequence[_List]" = ()
    ) -> tuple[x509.CertificateRevocationList, ...]:
        """Write the file of lists: those of some authorities renewed, some added, and the others as they were."""
        after = []
        for each in read_revocation_lists(self.lists_file):
            signer = next((authority for authority in renewed if is_signed_by(each, authority)), None)
            after.append(each if signer is None else renewed[signer].after(each))
        after += [each.after(None) for each in added]
        write_over(NewFile(self.lists_file, lists_pem(after), PUBLIC_MODE))
        return tuple(after)

    def _add_issuing(self, algorithm: KeyAlgorithm) -> Made:
        root = self._root()
        if (self.folder / PRIVATE_KEY_FILE).exists():
            raise CredentialsError(
                f"{self.folder / PRIVATE_KEY_FILE} exists and is never overwritten: the authority in {self.folder} "
                "is there already"
            )
        issuing = _new_issuing(root, algorithm)
        # the list first: without one, whatever the new authority issues would be refused
        self._replace_lists({root.certificate: _List(root, ROOT_LIST_DAYS)}, [_List(issuing, LIST_DAYS)])
        write_new(*issuing.files(self.folder))
        return Made(root.certificate, issuing.certificate)


def create_authorities(
    folder: Path,
    name: str = DEFAULT_AUTHORITY_NAME,
    validity: Validity | None = None,
    algorithm: KeyAlgorithm = KeyAlgorithm.P256,
    root_folder: Path | None = None,
) -> Made:
    """Make the nodes' authority in `folder`: a root (`validity`, ten years from now unless given), and an issuing one.

    The issuing one lasts five years, or as long as the root. Where a root is there already, because the issuing
    authority was revoked or has expired and was moved away, it vouches for a new one. Raises CredentialsError if the
    name cannot be used, an issuing authority exists there already, or the disk refuses: then nothing was written.
    """
    house = Hierarchy.at(folder, root_folder)
    if (folder / AUTHORITY_FILE).exists():
        return house._add_issuing(algorithm)  # noqa: SLF001 - of the same file
    root = Authority.self_signed(name, validity or Validity.days(AUTHORITY_DAYS), algorithm, path_length=1)
    issuing = _new_issuing(root, algorithm)
    lists = [_List(root, ROOT_LIST_DAYS).after(None), _List(issuing, LIST_DAYS).after(None)]
    with private_folder(folder), private_folder(house.root_folder):
        refuse_open_folder(folder)
        refuse_open_folder(house.root_folder)
        write_new(
            *issuing.files(folder),
            *root.files(house.root_folder),
            NewFile(folder / AUTHORITY_FILE, pem(root.certificate), PUBLIC_MODE),
            NewFile(house.lists_file, lists_pem(lists), PUBLIC_MODE),
        )
    return Made(root.certificate, issuing.certificate)


@dataclass(frozen=True, slots=True)
class _List:
    """A revocation list to be: whose, for how many days from now, and what is new in it."""

    authority: Authority
    days: int
    doomed: Sequence[x509.Certificate] = ()

    def after(self, previous: x509.CertificateRevocationList | None) -> x509.CertificateRevocationList:
        """Sign the list that follows `previous`, with everything in it that was revoked before."""
        now, key = datetime.now(UTC), self.authority.key
        entries = {} if previous is None else {each.serial_number: each for each in previous}
        for certificate in self.doomed:
            entries.setdefault(certificate.serial_number, _entry(certificate, now))
        builder = (
            x509.CertificateRevocationListBuilder(revoked_certificates=list(entries.values()))
            .issuer_name(self.authority.certificate.subject)
            .last_update(now - CLOCK_SKEW)
            .next_update(now + timedelta(days=self.days))
            .add_extension(issuer_identifier(key), critical=False)
            .add_extension(x509.CRLNumber(_number(previous) + 1), critical=False)
        )
        return builder.sign(key, signature_hash(key))


def _entry(certificate: x509.Certificate, now: datetime) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(certificate.serial_number, now)
    return builder.build()


def _number(revocations: x509.CertificateRevocationList | None) -> int:
    if revocations is None:
        return 0
    return revocations.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _new_issuing(root: Authority, algorithm: KeyAlgorithm) -> Authority:
    ends = min(Validity.days(ISSUING_DAYS).ends, root.certificate.not_valid_after_utc)
    validity = Validity(Validity.days(ISSUING_DAYS).begins, ends)
    return root.subordinate(f"{common_name(root.certificate.subject)}-issuing"[:63], validity, algorithm)


def _is_issued_by(certificate: x509.Certificate, authority: Authority) -> bool:
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _move(path: Path, aside: Path) -> None:
    try:
        path.rename(aside)
    except OSError as error:
        raise CredentialsError(f"cannot move {path} aside: {error.strerror}") from error
