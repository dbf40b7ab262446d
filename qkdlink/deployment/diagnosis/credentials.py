"""Could this node prove who it is, and know its peer: one answer per trust anchor, and none needed after the latch."""

from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import assert_never

from qkdlink.common.errors import CredentialsError
from qkdlink.common.node.anchors.choice import open_anchor
from qkdlink.common.node.anchors.preshared import PresharedAnchor
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.trust.certificates import dns_names
from qkdlink.common.trust.credentials import NodeCredentials
from qkdlink.common.trust.openpgp import find_program
from qkdlink.common.trust.pem import read_chain
from qkdlink.deployment.diagnosis.causes import Obstacle
from qkdlink.deployment.diagnosis.findings import Finding
from qkdlink.deployment.diagnosis.house import Patient, minute, open_store

_UNAUTHENTICATED = (
    "; the keys that are stored here go back to a bootstrap without authentication, and no application gets them: for"
    " keys that it gets, choose another trust.anchor, and run `qkdlink bootstrap --again` at both ends"
)


def check_credentials(patient: Patient, *, latched: bool, unauthenticated: bool = False) -> Finding:
    """Ask whether what this node shows and believes can be used; for the peer only while the bootstrap is open.

    Of keys that go back to a bootstrap without authentication it is said that they do.
    """
    finding = _credentials(patient, latched=latched)
    return replace(finding, sentence=finding.sentence + _UNAUTHENTICATED) if unauthenticated else finding


def _credentials(patient: Patient, *, latched: bool) -> Finding:
    for path in patient.apparatus_certificates:
        _refuse_expired(path, patient.now, "issue it anew from the authority of the broker and its clients")
    if latched:
        return Finding.ok(
            "the bootstrap is closed: keys authenticate this link, and no certificate is needed"
        )
    match patient.settings.trust.anchor:
        case AnchorName.PKI:
            return _check_certificates(patient)
        case AnchorName.PSK:
            return _check_preshared(patient)
        case AnchorName.WEB_OF_TRUST:
            return _check_card(patient)
        case AnchorName.NONE:
            return Finding.ok(
                "trust.anchor is none: whoever answers is believed, and applications get none of the keys"
            )
        case _ as never:
            assert_never(never)


def _check_certificates(patient: Patient) -> Finding:
    files, node = patient.credential_files, patient.settings.node
    for path in (files.certificate, files.authority):
        _refuse_expired(path, patient.now, "issue a new one with `qkdlink ca issue`")
    names = dns_names(read_chain(files.certificate)[0])
    if node not in names:
        whose = " and ".join(names) or "nobody"
        return Finding.failed(
            Obstacle.NAME,
            f"{files.certificate} is for {whose}, but this node is called {node}: put right `node` in the"
            " configuration, or issue a certificate for that name",
        )
    NodeCredentials.load(files, node, patient.now)
    return Finding.ok(f"{files.certificate} is for {node}, from the authority beside it, and valid")


def _check_preshared(patient: Patient) -> Finding:
    try:
        anchor = open_anchor(patient.settings, patient.folder, patient.role)
        assert isinstance(anchor, PresharedAnchor)  # noqa: S101 - it is the anchor of this case
        store = open_store(patient)
        with nullcontext() if store is None else closing(store):
            anchor.check(store)
    except CredentialsError as error:
        return Finding.failed(Obstacle.KEY, str(error).rstrip("."))
    how = "with pads from it" if anchor.pads else "under a key from it"
    return Finding.ok(f"{anchor.file} holds {anchor.secret.bits} bits; checkpoints are tagged {how}")


def _check_card(patient: Patient) -> Finding:
    find_program("gpg")
    open_anchor(patient.settings, patient.folder, patient.role)
    card = patient.folder / patient.settings.trust.node_card
    return Finding.ok(f"{card} is this node's, its key is here, and GnuPG can judge the peer's")


def _refuse_expired(path: Path, now: datetime, remedy: str) -> None:
    ends = read_chain(path)[0].not_valid_after_utc
    if now > ends:
        raise CredentialsError(
            f"{path} expired at {minute(ends)}, and this machine's clock says {minute(now)}: if the clock is right,"
            f" {remedy}"
        )
