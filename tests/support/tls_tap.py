"""TLS sessions between two ends in memory, tapped byte by byte, with their secrets written down."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from qkdlink.common.trust.algorithms import KeyAlgorithm
from qkdlink.common.trust.pki import Validity
from qkdlink.common.trust.self_signed import self_signed
from qkdlink.eve.relay import Way

PSK = bytes(range(32))
type Tapped = list[tuple[Way, bytes]]


def certificate_contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Both ends show a certificate; each believes the other's."""
    contexts = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for context, own, other in zip(contexts, ("alice", "bob"), ("bob", "alice"), strict=True):
        for name in (own, other):
            if not (folder / f"{name}.pem").exists():
                private, certificate = self_signed(name, Validity.days(2), KeyAlgorithm.P256)
                (folder / f"{name}.pem").write_bytes(private + certificate)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_cert_chain(folder / f"{own}.pem")
        context.load_verify_locations(folder / f"{other}.pem")
    return contexts


def keyed_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Both ends know a PSK; the listener gives tickets, as foreign programs do."""
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.check_hostname = False
    client.set_psk_client_callback(lambda _: ("alice", PSK))
    server.set_psk_server_callback(lambda _: PSK)
    return client, server


def tapped(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], key_log: Path, texts: Sequence[tuple[Way, bytes]]
) -> Tapped:
    """Shake hands, let each end say its texts in turn, and return all that passed."""
    for context in contexts:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.keylog_filename = str(key_log)
    to_bob, to_alice = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = contexts[0].wrap_bio(to_alice, to_bob)
    server = contexts[1].wrap_bio(to_bob_in := ssl.MemoryBIO(), to_alice_out := ssl.MemoryBIO(), True)
    passed: Tapped = []

    def carry() -> None:
        for way, source, sink in ((Way.TO_BOB, to_bob, to_bob_in), (Way.TO_ALICE, to_alice_out, to_alice)):
            if data := source.read():
                passed.append((way, data))
                sink.write(data)

    for _ in range(3):
        for end in (client, server):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
            carry()
    for way, text in texts:
        sender, receiver = (client, server) if way is Way.TO_BOB else (server, client)
        sender.write(text)
        carry()
        got = b""
        while len(got) < len(text):
            got += receiver.read(1 << 20)
        assert got == text
    return passed


def chopped(passed: Tapped, size: int) -> Iterator[tuple[Way, bytes]]:
    """The same bytes, in pieces of another size."""
    for way, data in passed:
        for start in range(0, len(data), size):
            yield way, data[start : start + size]
