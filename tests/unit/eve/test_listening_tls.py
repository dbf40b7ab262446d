"""Eve reads TLS 1.3 with the secrets of its sessions, and nothing without them."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.errors import ConfigurationError
from qkdlink.eve.listening.hellos import NotUnderstood, read_client_hello, read_server_hello
from qkdlink.eve.listening.key_log import KeyLog, Label
from qkdlink.eve.listening.records import SUITES, Content, Opener, Record, RecordReader, expand_label
from qkdlink.eve.listening.tls import OverheardTls, Proof, Secrets
from qkdlink.eve.relay import Way
from tests.support.tls_tap import Tapped, certificate_contexts, chopped, keyed_contexts, tapped

TEXTS = [
    (Way.TO_BOB, b"how many?"),
    (Way.TO_ALICE, b"as many as that: " + bytes(100_000)),
    (Way.TO_BOB, b"so many"),
]


def by_certificate(folder: Path) -> Tapped:
    return tapped(certificate_contexts(folder), folder / "keys.log", TEXTS)


def by_key(folder: Path) -> Tapped:
    return tapped(keyed_contexts(), folder / "keys.log", TEXTS)


def read(
    passed: Iterable[tuple[Way, bytes]], secrets: Secrets
) -> tuple[list[tuple[Way, bytes]], OverheardTls]:
    """All that was said, joined where one end went on."""
    overheard, said = OverheardTls(secrets), list[tuple[Way, bytes]]()
    for way, data in passed:
        for speaking_to, text in overheard.feed(way, data):
            if said and said[-1][0] is speaking_to:
                said[-1] = speaking_to, said[-1][1] + text
            else:
                said.append((speaking_to, text))
    return said, overheard


@pytest.mark.parametrize(
    ("session", "proof"), [(by_certificate, Proof.CERTIFICATE), (by_key, Proof.PRE_SHARED_KEY)]
)
@pytest.mark.parametrize("size", [1 << 20, 1000, 7])
def test_with_its_secrets_a_session_is_read_in_order_whatever_pieces_it_comes_in(
    session: Callable[[Path], Tapped], proof: Proof, size: int, tmp_path: Path
):
    passed = session(tmp_path)
    said, overheard = read(chopped(passed, size), KeyLog.of([tmp_path / "keys.log"]).secret)
    assert said == TEXTS
    assert overheard.proof is proof
    assert overheard.passed_bytes == sum(len(data) for _, data in passed)
    assert 0 < overheard.opened_bytes < overheard.passed_bytes
    assert not overheard.is_waiting


@pytest.mark.parametrize("session", [by_certificate, by_key])
def test_without_them_the_wire_tells_by_what_the_ends_know_each_other_and_nothing_else(
    session: Callable[[Path], Tapped], tmp_path: Path
):
    said, overheard = read(session(tmp_path), lambda *_: None)
    assert said == []
    assert overheard.proof is not None
    assert overheard.opened_bytes == 0
    assert overheard.is_waiting


def test_what_came_before_its_secret_is_read_once_the_secret_is_there(tmp_path: Path):
    passed, lent = by_certificate(tmp_path), [False]
    log = KeyLog.of([tmp_path / "keys.log"])
    overheard = OverheardTls(lambda label, random: log.secret(label, random) if lent[0] else None)
    said = []
    for index, (way, data) in enumerate(passed):
        lent[0] = index == len(passed) - 1
        said += overheard.feed(way, data)
    assert b"".join(text for _, text in said) == b"".join(text for _, text in TEXTS)


def test_a_secret_of_another_session_is_noticed(tmp_path: Path):
    with pytest.raises(NotUnderstood, match="does not open with the secret of its session"):
        read(by_certificate(tmp_path), lambda *_: bytes(48))
    with pytest.raises(NotUnderstood, match="a secret of 32 bytes is none of TLS_AES_256_GCM_SHA384"):
        read(by_certificate(tmp_path), lambda *_: bytes(32))


def test_traffic_keys_are_those_of_the_published_trace():
    """RFC 8448, section 3: the client's handshake secret, write key and write IV."""
    secret = bytes.fromhex("b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21")
    assert expand_label(SHA256(), secret, "key", 16).hex() == "dbfaa693d1762c5b666af5d950258d01"
    assert expand_label(SHA256(), secret, "iv", 12).hex() == "5bd3c71b836e0b76bb73265f"


class Sealer:
    """One direction of a session of our own making, under AES-128-GCM."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.sequence = 0

    def seal(self, content: Content, data: bytes, padding: int = 0) -> bytes:
        inner = data + bytes([content]) + bytes(padding)
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2)
        iv = int.from_bytes(expand_label(SHA256(), self.secret, "iv", 12))
        nonce = (iv ^ self.sequence).to_bytes(12)
        self.sequence += 1
        key = expand_label(SHA256(), self.secret, "key", 16)
        return header + AESGCM(key).encrypt(nonce, inner, header)

    def update(self) -> None:
        self.secret, self.sequence = expand_label(SHA256(), self.secret, "traffic upd", 32), 0


RANDOM = bytes(32)
CLIENT_HELLO = b"\x03\x03" + RANDOM + b"\0" + b"\0\2\x13\x01" + b"\1\0" + b"\0\0"
SERVER_HELLO = b"\x03\x03" + bytes(32) + b"\0" + b"\x13\x01\0" + b"\0\6\0\x2b\0\2\3\4"
SECRETS = {label: bytes([number]) * 32 for number, label in enumerate(Label)}


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3) + body


def clear(data: bytes) -> bytes:
    return b"\x16\x03\x03" + len(data).to_bytes(2) + data


def hellos() -> Tapped:
    return [(Way.TO_BOB, clear(message(1, CLIENT_HELLO))), (Way.TO_ALICE, clear(message(2, SERVER_HELLO)))]


def own_secrets(label: Label, client_random: bytes) -> bytes | None:
    return SECRETS[label] if client_random == RANDOM else None


def test_padding_tickets_key_updates_and_messages_cut_over_records_are_stepped_through():
    hands, words = Sealer(SECRETS[Label.SERVER_HANDSHAKE]), Sealer(SECRETS[Label.SERVER_APPLICATION])
    finished = message(11, bytes(300)) + message(20, bytes(32))
    sent = b"\x14\x03\x03\0\1\1"  # the compatibility mode's change of cipher
    sent += hands.seal(Content.HANDSHAKE, finished[:111]) + hands.seal(Content.HANDSHAKE, finished[111:])
    sent += words.seal(Content.HANDSHAKE, message(4, bytes(50)))
    sent += words.seal(Content.APPLICATION_DATA, b"one", padding=77)
    sent += words.seal(Content.HANDSHAKE, message(24, b"\0"))
    words.update()
    sent += words.seal(Content.APPLICATION_DATA, b"two")
    sent += words.seal(Content.ALERT, b"\1\0")
    said, _ = read([*hellos(), (Way.TO_ALICE, sent)], own_secrets)
    assert said == [(Way.TO_ALICE, b"onetwo")]


def test_a_hello_retry_request_begins_the_hellos_anew():
    retry = bytearray(SERVER_HELLO)
    retry[2:34] = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
    first, last = hellos()
    _, overheard = read([first, (Way.TO_ALICE, clear(message(2, bytes(retry)))), first, last], own_secrets)
    assert overheard.proof is Proof.CERTIFICATE


@pytest.mark.parametrize(
    ("passed", "fault"),
    [
        ([(Way.TO_BOB, b"GET / HTTP/1.1\r\n")], "no TLS records"),
        ([(Way.TO_BOB, b"\x16\x03\x01\xff\xff")], "no TLS records"),
        ([(Way.TO_BOB, b"\x63\x03\x03\0\0")], "no TLS record of type 99"),
        ([(Way.TO_BOB, b"\0\xff\xff\xff")], "neither with TLS nor with a node card"),
        ([(Way.TO_BOB, clear(message(1, CLIENT_HELLO[:40])))], "cut short"),
        ([(Way.TO_BOB, clear(message(1, CLIENT_HELLO + b"x")))], "goes on after its end"),
        ([(Way.TO_BOB, clear(b"\1\xff\xff\xff"))], "longer than any"),
        ([(Way.TO_BOB, clear(message(11, b"")))], "came in clear"),
        ([(Way.TO_BOB, b"\x17\x03\x03\0\1x")], "before the hellos"),
        ([hellos()[0], (Way.TO_ALICE, clear(message(2, SERVER_HELLO[:-6] + b"\0\0")))], "goes on|cut short"),
        ([hellos()[0], (Way.TO_ALICE, clear(message(2, SERVER_HELLO[:-8] + b"\0\0")))], "speak TLS 1.3"),
        (
            [
                *hellos(),
                (Way.TO_ALICE, Sealer(SECRETS[Label.SERVER_HANDSHAKE]).seal(Content.APPLICATION_DATA, b"x")),
            ],
            "before the handshake was finished",
        ),
    ],
)
def test_what_is_no_session_of_tls_1_3_is_said_to_be_none(passed: Tapped, fault: str):
    with pytest.raises(NotUnderstood, match=fault):
        read(passed, own_secrets)


def test_a_cipher_that_is_not_read_here_is_named():
    other = SERVER_HELLO[:35] + b"\x13\x05" + SERVER_HELLO[37:]
    sealed = Sealer(SECRETS[Label.SERVER_HANDSHAKE]).seal(Content.HANDSHAKE, b"")
    passed = [hellos()[0], (Way.TO_ALICE, clear(message(2, other))), (Way.TO_ALICE, sealed)]
    with pytest.raises(NotUnderstood, match="cipher suite 0x1305"):
        read(passed, own_secrets)


def test_a_record_of_nothing_but_padding_is_refused():
    sealer = Sealer(SECRETS[Label.CLIENT_HANDSHAKE])
    sealed = sealer.seal(Content.HANDSHAKE, b"")
    header, opener = sealed[:5], Opener(SUITES[0x1301], sealer.secret)
    iv = int.from_bytes(expand_label(SHA256(), sealer.secret, "iv", 12))
    empty = AESGCM(expand_label(SHA256(), sealer.secret, "key", 16)).encrypt(
        iv.to_bytes(12), bytes(9), header
    )
    with pytest.raises(NotUnderstood, match="nothing but padding"):
        opener.open(Record(Content.APPLICATION_DATA, header, empty))


@given(st.lists(st.tuples(st.sampled_from(list(Way)), st.binary(max_size=300)), max_size=8))
def test_any_bytes_are_read_or_refused(passed: Tapped):
    with suppress(NotUnderstood):
        read([*hellos(), *passed], own_secrets)


@given(st.binary(max_size=200))
def test_any_hello_is_read_or_refused(body: bytes):
    for reader in (read_client_hello, read_server_hello):
        with suppress(NotUnderstood):
            reader(body)


def test_a_node_card_before_tls_is_stepped_over():
    reader = RecordReader()
    card = b"\0\0\0\5hello"
    assert list(reader.feed(card[:6])) == []
    [record] = reader.feed(card[6:] + clear(b"abc"))
    assert record.payload == b"abc"
    assert reader.clear_bytes == len(card)


def line(label: str = Label.CLIENT_HANDSHAKE, random: str = "ab" * 32, secret: str = "cd" * 32) -> str:
    return f"{label} {random} {secret}\n"


def test_a_key_log_that_grows_is_read_on_and_half_a_line_waits(tmp_path: Path):
    path = tmp_path / "keys.log"
    log = KeyLog.of([path])
    assert log.secret(Label.CLIENT_HANDSHAKE, b"\xab" * 32) is None, "no file yet"
    path.write_text("# a comment\n\n" + line("EXPORTER_SECRET") + line()[:50])
    assert log.secret(Label.CLIENT_HANDSHAKE, b"\xab" * 32) is None
    with path.open("a") as file:
        file.write(line()[50:] + line(Label.SERVER_APPLICATION, secret="EF" * 48))
    assert log.secret(Label.CLIENT_HANDSHAKE, b"\xab" * 32) == b"\xcd" * 32
    assert log.secret(Label.SERVER_APPLICATION, b"\xab" * 32) == b"\xef" * 48
    assert "cd" * 8 not in repr(log)


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN PRIVATE KEY-----\n",
        line(secret="cd" * 16),
        line(secret="c" * 65),
        line(random="ab"),
        "x" * 600,
    ],
)
def test_what_is_no_key_log_is_refused_by_the_number_of_its_line(tmp_path: Path, text: str):
    path = tmp_path / "keys.log"
    path.write_text(line() + text)
    with pytest.raises(ConfigurationError, match=rf"Line 2 of {path} is not a line of a TLS key log"):
        KeyLog.of([path]).refresh()


def test_a_key_log_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=f"The key log {tmp_path} cannot be read"):
        KeyLog.of([tmp_path]).refresh()


def test_a_key_log_without_end_is_refused(tmp_path: Path):
    path = tmp_path / "keys.log"
    path.touch()
    os.truncate(path, 2**26 + 1)
    with pytest.raises(ConfigurationError, match="longer than 64 MiB"):
        KeyLog.of([path]).refresh()
