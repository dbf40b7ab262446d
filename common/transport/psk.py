"""TLS 1.3 with an external PSK: who knows the key of this epoch is the peer, and nothing else is proof.

OpenSSL takes a PSK as one offer among others, so each way round it is closed by name. A dialler that believed any
certificate would take an impostor who ignores the PSK and shows one: so ours must have a certificate, and believes no
authority at all. A listener that has a certificate silently prefers it: so ours has none, and needs one that it can
never get. A session ticket outlives its key: so none is given, and every connection has a context of its own, which
also tells the identities of simultaneous handshakes apart. A dialler whose bytes come back to a listener of her own
would meet herself (RFC 9257, section 4.1): so the identity names the dialling role, and the name she asked for has to
be the listener's own. PSKs always go with an ephemeral Diffie-Hellman exchange (psk_dhe_ke), the only mode that
OpenSSL offers by default.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeIs

from qkdlink.common.errors import ConfigurationError, CredentialsError, LinkError, UnprovenRefusalError
from qkdlink.common.keys.derivation import BOOTSTRAP_KEY_ID, KEY_BYTES, LONGEST_IDENTITY_BYTES, parse_identity
from qkdlink.common.transport.connections import (
    HANDSHAKE_TIMEOUT_S,
    Connection,
    Door,
    Handshake,
    OnConnection,
    OnRefused,
    admit,
    connect,
)
from qkdlink.common.transport.refusals import explain
from qkdlink.common.transport.tls import PeerIdentity
from qkdlink.common.transport.unauthenticated import UnknownPeer

NO_COMMON_KEY = (
    "a home was put back from an older copy or its store was lost, here or at the other end: run `qkdlink bootstrap"
    " --again` at both ends with both nodes stopped"
)
"""Why two nodes may have no link PSK in common, and what to do: all that a copy without the newest keys shows."""

_LONGEST_SHOWN = 96
"""How much of a stranger's identity is repeated in our journal."""

_ALERTS = (
    "ALERT_HANDSHAKE_FAILURE",
    "ALERT_ILLEGAL_PARAMETER",
    "ALERT_DECRYPT_ERROR",
    "ALERT_UNKNOWN_PSK_IDENTITY",
)
"""What a listener may answer to a PSK: in turn no such identity, another key (OpenSSL's two), and RFC 8446's names."""

_NO_KEY_OFFERED = ("NO_SUITABLE_SIGNATURE_ALGORITHM", "NO_SHARED_CIPHER", "NO_CERTIFICATE_SET")
"""OpenSSL's reasons at a listener that found no PSK and has no certificate to go on with."""


@dataclass(frozen=True, slots=True)
class KeyedPeer:
    """Who is at the other end, because it has the key of this identity."""

    name: str
    identity: str
    """What was said in clear; see `qkdlink.common.keys.derivation.psk_identity`."""

    @property
    def key_id(self) -> str:
        """The key's name within its link."""
        return self.identity.rpartition(":")[2]

    @property
    def key(self) -> str:
        """What a person calls the key."""
        return _called(self.key_id)

    @property
    def fingerprint(self) -> None:
        """None: no certificate was shown, and nothing that depends on a key is ever told."""
        return


type AnyConnection = Connection[PeerIdentity] | Connection[KeyedPeer] | Connection[UnknownPeer]
"""A connection whose peer is known, by certificate or by key, or believed without either."""


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """By what a listener knows its peer: the link, both names, and the keys that are valid at this moment."""

    link: str
    own_name: str
    peer_name: str
    lookup: Callable[[str], bytes | None] = field(repr=False)
    """From a key id to the PSK (32 bytes) or None; asked at every handshake, in the event loop, so it must not wait."""
    parse: Callable[[str, str], str | None] = parse_identity
    """From an identity and the link to the key id, None for identities that are not this port's business."""


def check_cipher_suites() -> None:
    """Refuse, with a ConfigurationError, a TLS library that is left without a cipher suite for external PSKs.

    A PSK is bound to the hash of a suite, and Python's callbacks bind it to SHA-256 (RFC 8446, section 4.2.11).
    """
    suites = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).get_ciphers()
    left = [suite["name"] for suite in suites if suite["protocol"] == "TLSv1.3"]
    if not any(name.endswith("_SHA256") for name in left):
        raise ConfigurationError(
            f"OpenSSL's configuration leaves {' and '.join(left) or 'no cipher suite'} for TLS 1.3, and link PSKs need"
            " one with SHA-256: allow TLS_AES_128_GCM_SHA256 or TLS_CHACHA20_POLY1305_SHA256 under Ciphersuites (see"
            " OPENSSL_CONF)."
        )


def psk_dialler_context(identity: str, psk: bytes) -> ssl.SSLContext:
    """Return the context of the end that dials with `psk` (32 bytes) under `identity`.

    Raises CredentialsError for a key or an identity that OpenSSL would drop, cut or alter without a word.
    """
    _check_identity(identity)
    if not _is_psk(psk):
        raise CredentialsError(f"a link's key has {KEY_BYTES} bytes; this one cannot be used")
    context = _keyed_context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = True
    context.hostname_checks_common_name = False
    context.set_psk_client_callback(lambda _: (identity, psk))
    return context


def psk_listener_context(lookup: Callable[[str], bytes | None]) -> ssl.SSLContext:
    """Return a context for one connection of the end that listens; `lookup` gives the PSK of an identity, or None.

    Anything but 32 bytes, and any exception, counts as no PSK: out of the callback neither would refuse, only be
    printed.
    """
    context = _keyed_context(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0
    context.set_psk_server_callback(lambda identity: _looked_up(lookup, identity))
    return context


def check_keyed(line: ssl.SSLObject | ssl.SSLSocket) -> None:
    """Refuse, with a CredentialsError, a finished handshake unless it is TLS 1.3 and rests on a PSK alone."""
    shown = line.getpeercert(binary_form=True)
    # OpenSSL counts an external PSK as a session that is used again; without one, a full handshake was made.
    if line.version() != "TLSv1.3" or not line.session_reused or shown is not None:
        raise CredentialsError("the line is not a TLS 1.3 session that rests on a pre-shared key")


async def dial_psk(
    host: str,
    port: int,
    identity: str,
    psk: bytes,
    peer_name: str,
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
    *,
    key_log: Path | None = None,
) -> Connection[KeyedPeer]:
    """Connect to the node called `peer_name` with a PSK (32 bytes) and wait until it has accepted us.

    `key_log` is where the secrets of the session are written, if anywhere.
    Raises CredentialsError if somebody answers and does not prove or take this key: another of our keys may be tried.
    Raises LinkError if nobody answers, the network fails, or `timeout_s` seconds have passed: another key would not
    help. Whoever sits on the line can feign both, so neither is a reason to go back to certificates.
    """
    peer = KeyedPeer(peer_name, identity)
    handshake = Handshake(
        psk_dialler_context(identity, psk),
        check=partial(_checked, peer),
        explain=partial(_explain_to_dialler, peer),
    )
    shown = f"us although {peer.key} was proven"
    return await connect(host, port, peer_name, handshake, shown=shown, timeout_s=timeout_s, key_log=key_log)


@asynccontextmanager
async def listen_psk(
    host: str,
    port: int,
    keys: LinkKeys,
    on_connection: OnConnection[KeyedPeer],
    on_refused: OnRefused,
    *,
    key_log: Path | None = None,
) -> AsyncIterator[Door]:
    """Accept whoever proves one of `keys`, and nobody else, for as long as the context lasts.

    Yields the door; `qkdlink.common.transport.connections.admit` says what becomes of connections. A key that `keys` no
    longer gives opens nothing from then on; connections that it has opened go on. Raises LinkError if the address
    cannot be listened at.
    """
    begin = lambda: _Offer(keys).handshake()  # noqa: E731 - a word for what happens at each connection
    async with admit(host, port, begin, on_connection, on_refused, key_log=key_log) as door:
        yield door


class _Offer:
    """What one dialler offers at one handshake: OpenSSL's callbacks are told no connection, so each has its own."""

    def __init__(self, keys: LinkKeys) -> None:
        self._keys = keys
        self._identity: str | None = None
        self._unknown: str | None = None
        self._asked_for: str | None = None
        self._failure: Exception | None = None

    def handshake(self) -> Handshake[KeyedPeer]:
        """Return the listener's side of this one handshake."""
        context = psk_listener_context(self._look_up)
        context.sni_callback = self._note_name
        return Handshake(context, self._check, self._explain)

    def _note_name(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self._asked_for = name

    def _look_up(self, identity: str) -> bytes | None:
        """Find the PSK of an identity; a dialler may offer several, and the first that is known counts."""
        key_id = self._parsed(identity)
        try:
            psk = None if key_id is None else self._keys.lookup(key_id)
        except Exception as error:
            self._failure = error
            raise
        if _is_psk(psk):
            self._identity = identity
        else:
            self._unknown = identity
        return psk

    def _check(self, line: ssl.SSLObject) -> KeyedPeer:
        check_keyed(line)
        if self._identity is None:
            raise CredentialsError("the line was resumed with a ticket of ours, which this node never gives")
        if self._asked_for != self._keys.own_name:
            wanted = _shown(self._asked_for)
            raise CredentialsError(
                f'the dialler looks for "{wanted}", but this node is "{self._keys.own_name}"'
            )
        return KeyedPeer(self._keys.peer_name, self._identity)

    def _explain(self, error: OSError, where: str) -> CredentialsError | LinkError:
        reason = _reason(error)
        if reason == "BINDER_DOES_NOT_VERIFY":
            return CredentialsError(
                f"{where}: names {self._name_of_offer()}, but has another key under this name"
            )
        if reason not in _NO_KEY_OFFERED:
            return explain(error, where, in_handshake=True)
        if self._failure is not None:
            failure = type(self._failure).__name__  # its text might quote what was being read
            return CredentialsError(f"{where}: the keys could not be looked up here ({failure})")
        return CredentialsError(f"{where}: {self._refused_offer()}")

    def _refused_offer(self) -> str:
        if self._unknown is None:
            return "offers no pre-shared key whose name can be read; a certificate opens nothing here"
        if self._parsed(self._unknown) is None:
            return f'offers "{_shown(self._unknown)}", which is no key of {self._keys.peer_name} on this link'
        offered = f"offers {self._name_of_offer()}, which is not, or no longer, valid here"
        if self._parsed(self._unknown) == BOOTSTRAP_KEY_ID:
            return offered
        return f"{offered}; if it gets in with no other, {NO_COMMON_KEY}"

    def _name_of_offer(self) -> str:
        offered = self._identity or self._unknown or ""
        return _called(self._parsed(offered))

    def _parsed(self, identity: str) -> str | None:
        return self._keys.parse(identity, self._keys.link)


def _keyed_context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    # With an empty trust store no certificate passes, and with a PSK none is asked for.
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    return context


def _looked_up(lookup: Callable[[str], bytes | None], identity: str | None) -> bytes:
    try:
        psk = None if identity is None else lookup(identity)
    except Exception:  # noqa: BLE001 - whatever went wrong, there is no key; the handshake fails and is told
        psk = None
    return psk if _is_psk(psk) else b""


def _is_psk(psk: object) -> TypeIs[bytes]:
    return isinstance(psk, bytes) and len(psk) == KEY_BYTES


def _check_identity(identity: str) -> None:
    if not 0 < len(identity.encode()) <= LONGEST_IDENTITY_BYTES or "\0" in identity:
        raise CredentialsError(
            f"an identity has 1 to {LONGEST_IDENTITY_BYTES} bytes and no NUL; this one cannot be offered"
        )


def _checked(peer: KeyedPeer, line: ssl.SSLObject) -> KeyedPeer:
    check_keyed(line)
    return peer


def _explain_to_dialler(peer: KeyedPeer, error: OSError, where: str) -> CredentialsError | LinkError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return CredentialsError(f"{where}: shows a certificate instead of proving {peer.key}")
    if _reason(error).endswith(_ALERTS):
        return UnprovenRefusalError(f"{where}: refuses {peer.key}")
    if _is_quiet_close(error):
        return UnprovenRefusalError(
            f"{where}: the line was closed at the offer of {peer.key}: it was cut, or there is none, or another, of"
            " this name"
        )
    return explain(error, where, in_handshake=True)


def _is_quiet_close(error: OSError) -> bool:
    """Whether the other end took our offer and closed: asyncio sends no alert with that, and reports no errno.

    A reset has one (104): it comes from a program that did not read our offer, or from the network.
    """
    return isinstance(error, ssl.SSLEOFError) or (
        isinstance(error, ConnectionResetError) and error.errno is None
    )


def _reason(error: OSError) -> str:
    return str(error.reason or "") if isinstance(error, ssl.SSLError) else ""


def _called(key_id: str | None) -> str:
    return "the pre-shared key of the bootstrap" if key_id == BOOTSTRAP_KEY_ID else f"the key {key_id}"


def _shown(text: str | None) -> str:
    """Make a stranger's text fit for a journal: printable ASCII, and not much of it."""
    return ascii((text or "")[:_LONGEST_SHOWN])[1:-1]
