"""Whom the web of trust knows: a card counts if a key signed it that an introducer has certified for this very node.

GnuPG's verdict on a key as a whole is not enough. A key is as valid as the best of its user ids, so that a key which
an introducer has certified for "mallory" could give itself the user id of a node. The user id that names the node is
therefore looked up by itself, and that one has to be valid.
"""

from datetime import datetime

from qkdlink.common.errors import CredentialsError
from qkdlink.common.trust.node_card import CardRole, NodeCard, SignedCard
from qkdlink.common.trust.openpgp import Keyring

_STATUS = "[GNUPG:] "

_REFUSED = {
    "BADSIG": "its signature does not fit it: the card was altered",
    "REVKEYSIG": "the key that signed it has been revoked",
    "EXPKEYSIG": "the key that signed it has expired",
    "EXPSIG": "its signature has expired",
    "NO_PUBKEY": "this node's keyring does not have the key that signed it: import it, certified by an introducer",
    "ERRSIG": "its signature cannot be verified",
    "NODATA": "it carries no OpenPGP signature",
    "UNEXPECTED": "it carries something else than a detached OpenPGP signature",
    "PLAINTEXT": "it carries something else than a detached OpenPGP signature",
    "TRUST_NEVER": "the owner of the key that signed it is never to be trusted, by this node's keyring",
    "TRUST_UNDEFINED": "no introducer whom this node's keyring trusts has certified the key that signed it",
    "TRUST_UNKNOWN": "no introducer whom this node's keyring trusts has certified the key that signed it",
    "TRUST_MARGINAL": "the key that signed it is vouched for by marginal trust only, and full trust is asked for",
    "FAILURE": "gpg could not judge its signature",
}
"""GnuPG's status keywords that refuse a card, the most telling first; one is enough, whatever else is said."""

_ACCEPTED = ("TRUST_FULLY", "TRUST_ULTIMATE")
_BINARY_SIGNATURE = "00"
"""RFC 9580, section 5.2.1: signature type 0x00, over bytes as they are."""

_VALID = frozenset("fu")
"""Full and ultimate validity, in colon listings."""


async def verify_card(shown: SignedCard, keyring: Keyring) -> None:
    """Refuse, with a CredentialsError that says why, a card that the keyring's web of trust does not vouch for."""
    card = shown.card
    try:
        key = signing_key(await keyring.verify(card.signed_bytes(), shown.signature))
        check_user_id(await keyring.listing(key), card.user_id)
    except CredentialsError as refusal:
        raise CredentialsError(f"the card of {card.node} is not accepted: {refusal}") from refusal


def check_place(card: NodeCard, link: str, node: str, role: CardRole, now: datetime) -> None:
    """Refuse, with a CredentialsError, a card that is for another link, node or role, or not valid at `now` (aware)."""
    if card.link != link:
        raise CredentialsError(f'the card is for the link "{card.link}", but this link is "{link}"')
    if card.node != node:
        raise CredentialsError(f'the card is for the node "{card.node}", but this node expects "{node}"')
    if card.role is not role:
        raise CredentialsError(
            f"the card says that {node} is the link's {card.role}, but it has to be its {role}"
        )
    card.check_time(now)


def signing_key(status: str) -> str:
    """Return the fingerprint of the primary key behind one good, valid and trusted signature.

    `status` are gpg's status lines. Raises CredentialsError, saying why, if there is no such signature, another one
    beside it, or anything at all that speaks against it.
    """
    lines = [line.removeprefix(_STATUS).split() for line in status.splitlines() if line.startswith(_STATUS)]
    said = [line[0] for line in lines if line]
    if said.count("NEWSIG") > 1:
        raise CredentialsError("it carries several signatures, and one is asked for")
    for keyword, reason in _REFUSED.items():
        if keyword in said:
            raise CredentialsError(reason)
    valid = [line for line in lines if line and line[0] == "VALIDSIG"]
    if said.count("GOODSIG") != 1 or len(valid) != 1 or len(valid[0]) < 11:
        raise CredentialsError("gpg could not judge its signature")
    if valid[0][9] != _BINARY_SIGNATURE:
        raise CredentialsError("its signature is not one over the bytes of a document")
    if not any(keyword in said for keyword in _ACCEPTED):
        raise CredentialsError(_REFUSED["TRUST_UNDEFINED"])
    return valid[0][10]


def check_user_id(listing: str, user_id: str) -> None:
    """Refuse, with a CredentialsError, a key unless it is in use and this very user id of it is fully valid.

    `listing` is gpg's colon listing of that one key.
    """
    records = [line.split(":") for line in listing.splitlines()]
    keys = [record for record in records if record[0] == "pub" and len(record) > 11]
    if len(keys) != 1:
        raise CredentialsError("gpg could not find the key that signed it")
    if "D" in keys[0][11]:
        raise CredentialsError("the key that signed it has been disabled in this node's keyring")
    validities = [record[1] for record in records if record[0] == "uid" and record[9] == user_id]
    if not validities:
        raise CredentialsError(f'the key that signed it has no user id "{user_id}"')
    if not any(validity in _VALID for validity in validities):
        raise CredentialsError(
            f'no introducer whom this node\'s keyring trusts has certified the user id "{user_id}" of its key'
        )
