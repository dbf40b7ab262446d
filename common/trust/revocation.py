"""Revocation as a node sees it: for each authority of a chain a list that is its own, and in force now.

A list that is missing, out of date or somebody else's is refused and never passed over: whoever could make a node go
without one could undo every revocation (RFC 5280, section 6.3, leaves that choice to the application).
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.pem import read_revocation_lists


def read_lists_in_force(
    path: Path, authorities: Sequence[x509.Certificate], now: datetime
) -> tuple[x509.CertificateRevocationList, ...]:
    """Read the revocation lists in `path`, of which every one of `authorities` must have one that is in force `now`.

    Lists of further authorities may stand beside them. Raises CredentialsError, saying whose list is wrong and why.
    """
    lists = read_revocation_lists(path)
    for authority in authorities:
        _refuse_out_of_force(path, authority, _list_of(path, lists, authority), now)
    return lists


def refuse_revoked(
    path: Path | str, chain: Sequence[x509.Certificate], lists: Sequence[x509.CertificateRevocationList]
) -> None:
    """Refuse, with a CredentialsError, a chain of which the first certificate or an authority is revoked.

    `path` says where that certificate lies, or whose it is.

    Each certificate of `chain` but the last was issued by the next one.
    """
    for certificate, issuer in pairwise(chain):
        revocation = _list_of(path, lists, issuer).get_revoked_certificate_by_serial_number(
            certificate.serial_number
        )
        if revocation is None:
            continue
        day = f"{revocation.revocation_date_utc:%Y-%m-%d %H:%M} UTC"
        if certificate is chain[0]:
            raise CredentialsError(f"{path} was revoked on {day}: issue a new one with `qkdlink ca issue`")
        raise CredentialsError(
            f'the authority "{common_name(certificate.subject)}" that issued {path} was revoked on {day}: make a new '
            "one with `qkdlink ca init`, and have it issue new credentials"
        )


def is_signed_by(revocations: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Whether `authority` has signed this list."""
    if revocations.issuer != authority.subject:
        return False
    try:
        # the stubs name the kinds of key that the library takes; it refuses any other with one of these errors
        return revocations.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def common_name(name: x509.Name) -> str:
    """Return the common name in a subject or issuer, or all of it where there is none."""
    names = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else name.rfc4514_string()


def _list_of(
    path: Path | str, lists: Sequence[x509.CertificateRevocationList], authority: x509.Certificate
) -> x509.CertificateRevocationList:
    own = [each for each in lists if is_signed_by(each, authority)]
    if len(own) > 1:
        raise CredentialsError(f"{path} holds {len(own)} lists of {_whose(authority)} where one is expected")
    if own:
        return own[0]
    if any(each.issuer == authority.subject for each in lists):
        raise CredentialsError(
            f"{path} holds a list in the name of {_whose(authority)}, which that authority has not signed: bring the "
            "file of this link's authority"
        )
    raise CredentialsError(
        f"{path} holds no revocation list of {_whose(authority)}: bring the file of this link's authority"
    )


def _refuse_out_of_force(
    path: Path, authority: x509.Certificate, revocations: x509.CertificateRevocationList, now: datetime
) -> None:
    ends = revocations.next_update_utc
    if ends is None or now > ends:
        when = "has no end" if ends is None else f"was good until {ends:%Y-%m-%d %H:%M} UTC"
        raise CredentialsError(
            f"{path} is out of date: the list of {_whose(authority)} {when}; issue a new one with "
            "`qkdlink ca revocations` and bring it here"
        )
    if now < revocations.last_update_utc:
        raise CredentialsError(
            f"{path} comes from the future: the list of {_whose(authority)} begins on "
            f"{revocations.last_update_utc:%Y-%m-%d %H:%M} UTC, and this machine's clock says {now:%Y-%m-%d %H:%M}: "
            "set the clock"
        )


def _whose(authority: x509.Certificate) -> str:
    return f'the authority "{common_name(authority.subject)}"'
