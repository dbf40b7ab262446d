import os
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from qkdlink.common.errors import ConfigurationError, CredentialsError
from qkdlink.common.trust import pki, private_files
from qkdlink.deployment.certificates.hierarchy import create_authorities


def certificate_in(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_0600_certificates_0644_and_folders_0700(home: Path) -> None:
    for folder in (home / "ca", home / "alice"):
        assert mode(folder) == 0o700
        assert mode(folder / "private-key.pem") == 0o600
        assert mode(folder / "certificate.pem") == 0o644
    assert mode(home / "alice" / "authority.pem") == 0o644


def test_a_key_is_private_from_the_moment_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[int, int]] = []

    def spy(path: Path, flags: int, permissions: int = 0o777) -> int:
        opened.append((flags, permissions))
        return really_open(path, flags, permissions)

    really_open = os.open
    monkeypatch.setattr(os, "open", spy)
    monkeypatch.delattr(os, "chmod")
    monkeypatch.delattr(os, "fchmod")
    private_files.write_new(private_files.NewFile(tmp_path / "key", b"secret"))
    flags, permissions = opened[0]
    assert flags & os.O_EXCL
    assert permissions == 0o600


def test_a_file_that_is_written_over_is_private_and_stays_as_it_was_where_that_fails(tmp_path: Path) -> None:
    file, folder = tmp_path / "node.toml", tmp_path / "folder"
    for data in (b"first", b"second"):
        private_files.write_over(private_files.NewFile(file, data))
        assert (file.read_bytes(), mode(file)) == (data, 0o600)
    folder.mkdir()
    with pytest.raises(
        ConfigurationError, match=r"cannot write .*folder: Is a directory; nothing was written"
    ):
        private_files.write_over(private_files.NewFile(folder, b"third"))
    assert {path.name for path in tmp_path.iterdir()} == {"node.toml", "folder"}, (
        "nothing half-written is left"
    )


def test_keys_are_unencrypted_pkcs8_on_p256(home: Path) -> None:
    pem = (home / "alice" / "private-key.pem").read_bytes()
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    key = load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)


def test_a_node_certificate_carries_its_name_first_then_its_hosts(home: Path) -> None:
    certificate = certificate_in(home / "alice")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [
        x509.DNSName("alice"),
        x509.IPAddress(ip_address("127.0.0.1")),
        x509.IPAddress(ip_address("::1")),
        x509.DNSName("qkd.example.org"),
    ]


def test_a_node_certificate_serves_both_ends_of_a_line_and_issues_nothing(home: Path) -> None:
    extensions = certificate_in(home / "alice").extensions
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign


def test_key_identifiers_lead_from_the_node_to_its_authority(home: Path) -> None:
    issuer = certificate_in(home / "alice").extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    for folder, same in (("ca", True), ("stranger", False)):
        subject = certificate_in(home / folder).extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        assert (issuer.value.key_identifier == subject.value.key_identifier) is same


def test_every_certificate_has_a_serial_of_its_own(home: Path) -> None:
    serials = {certificate_in(home / folder).serial_number for folder in ("ca", "stranger", "alice", "bob")}
    assert len(serials) == 4
    assert min(serials) > 2**64


def test_validity_begins_minutes_ago_and_lasts_ten_years_five_or_one(home: Path) -> None:
    now = datetime.now(UTC)
    for folder, days in (("ca/root", 3652), ("ca", 1826), ("stranger", 1826), ("alice", 365)):
        certificate = certificate_in(home / folder)
        assert timedelta(minutes=4) < now - certificate.not_valid_before_utc < timedelta(minutes=10)
        remaining = certificate.not_valid_after_utc - now
        assert timedelta(days=days, minutes=-5) < remaining <= timedelta(days=days)


def test_a_certificate_cannot_outlive_its_authority(home: Path, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"ends on .* ask for fewer days"):
        pki.issue(home / "ca", "alice", tmp_path / "alice", validity=pki.Validity.days(4000))
    assert not (tmp_path / "alice").exists()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_accepts_the_chain_and_refuses_the_strangers(home: Path) -> None:
    def verify(authority: str, purpose: str) -> int:
        command = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-purpose", purpose]
        files = {
            "-CAfile": home / authority / "authority.pem",
            "-CRLfile": home / authority / "revocations.pem",
            "-untrusted": home / authority / "certificate.pem",
        }
        options = [str(part) for option in files.items() for part in option]
        run = [*command, *options, str(home / "alice" / "certificate.pem")]
        return subprocess.run(run, capture_output=True, check=False).returncode

    assert verify("ca", "sslclient") == 0
    assert verify("ca", "sslserver") == 0
    assert verify("stranger", "sslserver") != 0


def test_nothing_is_ever_overwritten(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*.pem")}
    with pytest.raises(CredentialsError, match=r"private-key\.pem exists and is never overwritten"):
        create_authorities(home / "ca")
    with pytest.raises(CredentialsError, match=r"private-key\.pem exists and is never overwritten"):
        pki.issue(home / "ca", "alice", home / "alice")
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_name_that_is_taken_late_takes_back_what_was_placed_before(home: Path, tmp_path: Path) -> None:
    (tmp_path / "authority.pem").write_text("somebody else's")
    with pytest.raises(CredentialsError, match=r"authority\.pem exists"):
        pki.issue(home / "ca", "carol", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["authority.pem"]


def test_a_node_folder_with_other_things_in_it_is_used_as_it_is(home: Path, tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text("")
    pki.issue(home / "ca", "carol", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "node.toml",
        "certificate.pem",
        "private-key.pem",
        "authority.pem",
        "revocations.pem",
    }


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from qkdlink.common.errors import ConfigurationError, CredentialsError
from qkdlink.common.trust import pki
from qkdlink.deployment.certificates.hierarchy import create_authorities
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit, authority, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    pki.issue(Path(authority), "carol", out) if authority else create_authorities(out)
except CredentialsError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("limit", [0, 100, 300])  # before, within and after the private key
@pytest.mark.parametrize("command", ["init", "issue"])
def test_a_full_disk_leaves_nothing_half_written(
    home: Path, tmp_path: Path, limit: int, command: str
) -> None:
    authority = str(home / "ca") if command == "issue" else ""
    out = tmp_path / "new" / "node"
    run = subprocess.run(
        [sys.executable, "-B", "-c", FULL_DISK, str(limit), authority, str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    assert "cannot write" in run.stderr
    assert run.stderr.strip().endswith("File too large; nothing was written")
    assert list(tmp_path.iterdir()) == []


NO_LABELS = ["", "Alice", "al ice", "a.b", "-alice", "alice-", "a" * 64, "älice", "a\n", "../x"]


@pytest.mark.parametrize("name", NO_LABELS)
def test_a_name_that_is_no_label_is_refused_before_anything_is_made(
    home: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(CredentialsError, match="1 to 63 lower-case letters, digits and hyphens"):
        pki.issue(home / "ca", name, tmp_path / "node")
    with pytest.raises(CredentialsError, match="1 to 63 lower-case letters"):
        pki.create_authority(tmp_path / "ca", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "7", "alice-2", "a" * 63, "xn--a"])
def test_any_lower_case_label_is_a_name(name: str) -> None:
    pki.check_name(name)


@pytest.mark.parametrize("host", ["*.example.org", "bob_", "a..b", "", "300.1.1.1:80", "a" * 300])
def test_a_host_that_is_no_address_and_no_dns_name_is_refused(home: Path, tmp_path: Path, host: str) -> None:
    with pytest.raises(CredentialsError, match="neither an IP address nor a DNS name"):
        pki.issue(home / "ca", "carol", tmp_path / "carol", hosts=[host])


def test_a_folder_without_an_authority_is_refused_by_name(home: Path, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="made with `qkdlink ca`"):
        pki.issue(tmp_path / "ca", "carol", tmp_path / "carol")
    with pytest.raises(CredentialsError, match="does not hold an authority"):
        pki.issue(home / "alice", "carol", tmp_path / "carol")


def test_an_authority_is_not_made_in_a_folder_open_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(CredentialsError, match="an authority needs mode 0700"):
        pki.create_authority(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CredentialsError, match=rf"cannot make the folder {tmp_path}/file"):
        pki.create_authority(tmp_path / "file" / "ca")
