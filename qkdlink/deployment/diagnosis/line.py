"""Alice's way to Bob, tried as she would go it and left before anything is agreed.

A line is opened with a key or by the trust anchor, and Bob hears who is there. Then, instead of the pending blocks that
come next, he hears the line being closed: he has stored nothing by then, and neither has this side.
"""

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass

from qkdlink.common.errors import ConfigurationError, CredentialsError, LinkError
from qkdlink.common.keys.derivation import key_id
from qkdlink.common.node.anchors.choice import open_anchor
from qkdlink.common.node.dialling import MOST_KEYS_TRIED, dial_with_key, introduction
from qkdlink.common.node.station import Greeting
from qkdlink.common.protocol.greeting import link_conversation
from qkdlink.common.protocol.high_water import Marks
from qkdlink.common.transport.addresses import Address
from qkdlink.common.transport.channel import ClassicalChannel
from qkdlink.common.transport.psk import NO_COMMON_KEY, AnyConnection
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.wire.messages import Holdings as HoldingsMessage
from qkdlink.deployment.diagnosis.causes import Obstacle, obstacle_of
from qkdlink.deployment.diagnosis.findings import Finding
from qkdlink.deployment.diagnosis.house import Holdings, Patient
from qkdlink.deployment.diagnosis.network import PATIENCE_S

_LARGEST_GREETING = 1 << 20
_KNOWN_BY = {
    AnchorName.PKI: "{peer}'s certificate is right, and {peer} takes this node's",
    AnchorName.PSK: "{peer} has the same pre-shared key",
    AnchorName.WEB_OF_TRUST: "the web of trust vouches for {peer}'s card, and {peer} takes this node's",
    AnchorName.NONE: "somebody answers, who may be {peer} or anybody else: trust.anchor is none",
}


@dataclass(slots=True)
class TrialLine:
    """One connection to Bob, for two questions: who is there, and is he told the same."""

    patient: Patient
    holdings: Holdings
    greeting: Greeting
    """Alice's side of a meeting."""
    _connection: AnyConnection | None = None

    async def check_identity(self) -> Finding:
        """Ask whether each end can prove to the other who it is, as the next connection of this node would."""
        settings, refusal = self.patient.settings, None
        peer = settings.peer
        try:
            for block, material in self.holdings.link_psks[:MOST_KEYS_TRIED]:
                try:
                    self._connection = await dial_with_key(
                        settings, settings.classical.address, block, material
                    )
                except CredentialsError as error:
                    refusal = error
                else:
                    return Finding.ok(f"{peer} has proven the key {key_id(block)} and takes it")
            if self.holdings.latched:
                return _no_common_key(peer, refusal)
            self._connection = await self._bootstrap()
        except (CredentialsError, LinkError) as error:
            return _refused(peer, error, self.patient.settings.trust.anchor)
        return Finding.ok(_KNOWN_BY[self.patient.settings.trust.anchor].format(peer=peer))

    async def check_parameters(self) -> Finding:
        """Ask whether the peer was told the same about the link, by greeting it."""
        peer = self.patient.settings.peer
        try:
            await self._greet()
        except _Enough:
            return Finding.ok(f"{peer} has the same link, names, protocol version and parameters")
        except ConfigurationError as error:
            return Finding.failed(
                Obstacle.PARAMETERS,
                f'{str(error).rstrip(".")}, where "here" is {peer}; copy [parameters] from one file to the other, and'
                f" start {peer} again if it has ended: until the bootstrap has closed, a node ends when it hears of"
                " parameters that are not its own",
            )
        except LinkError as error:
            return Finding.failed(Obstacle.PEER, f"{peer} takes the line, but does not greet: {error}")
        raise AssertionError("a greeting without pending blocks cannot end")

    async def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            await self._connection.close()

    async def _bootstrap(self) -> AnyConnection:
        patient = self.patient
        anchor = open_anchor(patient.settings, patient.folder, patient.role)
        return await anchor.dial(patient.settings.classical.bootstrap_address)

    async def _greet(self) -> None:
        connection, settings = self._connection, self.patient.settings
        if connection is None:
            raise LinkError("there is no line")
        channel = ClassicalChannel(connection.reader, connection.writer, _LARGEST_GREETING, PATIENCE_S)
        reading = asyncio.create_task(channel.read(lambda _: None), name="classical channel")
        try:
            conversation = link_conversation(self.patient.role, settings.link, channel.line())
            await self.greeting(conversation, introduction(settings), _NoPendingBlocks())
        finally:
            channel.close()
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


async def stranger_at(peer: str, address: Address) -> Finding | None:
    """Greet the port for keys without a key, and say if something answers as no node does; a node hangs up at that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    what = "takes the line and says nothing"
    try:
        async with asyncio.timeout(PATIENCE_S):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=context, server_hostname=peer
            )
        writer.transport.abort()
    except TimeoutError:
        pass
    except ssl.SSLCertVerificationError:
        what = "shows a certificate"
    except ssl.SSLError as error:
        if isinstance(error, ssl.SSLEOFError) or "ALERT" in (error.reason or ""):
            return None
        what = "does not speak TLS"
    except OSError:
        return None
    return Finding.failed(
        Obstacle.PEER,
        f"what listens at {address}, where {peer} should listen for keys, {what}: another program has this port, so"
        " correct classical.address, or end that program",
    )


class _Enough(Exception):  # noqa: N818 - it is no error
    """Both have introduced themselves; what comes next would change what is stored."""


class _NoPendingBlocks:
    """Ends a greeting at the point at which pending blocks would be named."""

    def marks(self) -> Marks:
        """Leave."""
        raise _Enough

    def check_marks(self, theirs: Marks, node: str, peer: str) -> None:
        """Leave."""
        raise _Enough(theirs, node, peer)

    async def claims(self, session: str) -> bytes:
        """Leave."""
        raise _Enough(session)

    async def answer(self, claims: bytes, session: str) -> tuple[bytes, bytes]:
        """Leave."""
        raise _Enough(session, claims)

    async def settle(self, answered: HoldingsMessage, session: str) -> None:
        """Leave."""
        raise _Enough(session, answered)


def _no_common_key(peer: str, refusal: CredentialsError | None) -> Finding:
    tried = (
        f"{peer} takes none of this node's link PSKs ({refusal})" if refusal else "no link PSK is left here"
    )
    return Finding.failed(
        Obstacle.KEY,
        f"{tried}, and nothing else opens a line since the bootstrap is closed: see that both homes are those of one"
        f" link; if they are, {NO_COMMON_KEY}",
    )


def _refused(peer: str, error: CredentialsError | LinkError, anchor: AnchorName) -> Finding:
    obstacle = obstacle_of(error)
    if obstacle is Obstacle.CERTIFICATE and anchor is AnchorName.PSK:
        obstacle = Obstacle.KEY
    match obstacle:
        case Obstacle.KEY:
            remedy = (
                f"; carry one pre-shared key to both nodes by hand, and run `qkdlink doctor` at {peer}, too"
            )
        case Obstacle.NAME:
            remedy = f"; correct `peer`, or the address, so that {peer} is who answers there"
        case Obstacle.CLOCK:
            remedy = ""
        case Obstacle.CERTIFICATE:
            remedy = (
                f"; carry both nodes' folders from one installation, and run `qkdlink doctor` at {peer}, too"
            )
        case _:
            obstacle = Obstacle.PEER
            remedy = f"; see that it is {peer} who listens there, and run `qkdlink doctor` at {peer}, too"
    return Finding.failed(obstacle, f"{error}{remedy}")
