"""The questions that each role is asked, in the order in which its node meets their answers."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from qkdlink.common.journal.link_state import NodeState
from qkdlink.common.node.broker import broker_access
from qkdlink.common.node.station import Greeting
from qkdlink.common.protocol.roles import Role
from qkdlink.common.transport.psk import check_cipher_suites
from qkdlink.deployment.diagnosis.broker import check_broker
from qkdlink.deployment.diagnosis.credentials import check_credentials
from qkdlink.deployment.diagnosis.findings import Check, Diagnosis, Finding, Outcome, examine
from qkdlink.deployment.diagnosis.house import (
    Holdings,
    Patient,
    check_clock,
    check_files,
    is_running,
    read_holdings,
)
from qkdlink.deployment.diagnosis.line import TrialLine, stranger_at
from qkdlink.deployment.diagnosis.network import (
    BROKER,
    Place,
    check_binding,
    check_name,
    judge,
    judge_peer,
    reach,
)
from qkdlink.deployment.diagnosis.witness import (
    as_dialler,
    as_listener,
    evidence_of,
    last_end,
)


async def examine_node(patient: Patient, greet_as_alice: Greeting) -> Diagnosis:
    """Find what stands in the way of a node; nothing of it is changed."""
    async with AsyncExitStack() as ending:
        visit = _Visit(patient, greet_as_alice, ending)
        return await examine(visit.checks())


class _Visit:
    """One examination: what earlier checks have learnt, later ones use."""

    def __init__(self, patient: Patient, greet_as_alice: Greeting, ending: AsyncExitStack) -> None:
        self._patient = patient
        self._greet_as_alice = greet_as_alice
        self._ending = ending
        self._running = is_running(patient)
        self._holdings = Holdings()
        self._told = NodeState()
        self._line: TrialLine | None = None
        settings = patient.settings
        self._broker = Place(BROKER, settings.broker.address)
        self._keyed = Place(settings.peer, settings.classical.address)
        self._bootstrap = Place(settings.peer, settings.classical.bootstrap_address)

    def checks(self) -> Sequence[Check]:
        """Return the questions for the patient's role."""
        return (
            Check("files", self._files),
            Check("clock", self._clock),
            Check("credentials", self._credentials),
            Check("broker name", lambda: check_name(self._broker)),
            Check("broker route", self._broker_route),
            Check("broker login", self._broker_login),
            *(self._of_dialler() if self._patient.role is Role.ALICE else self._of_listener()),
        )

    def _of_dialler(self) -> Sequence[Check]:
        return (
            Check("peer name", self._peer_name),
            Check("peer route", self._peer_route),
            Check("peer identity", self._peer_identity),
            Check("parameters", self._parameters),
        )

    def _of_listener(self) -> Sequence[Check]:
        return (Check("own ports", self._own_ports), Check("peer seen", self._peer_seen))

    # --- the node itself ---------------------------------------------------------------------------------------

    async def _files(self) -> Finding:
        self._told = evidence_of(self._patient.journal, self._patient.settings.node)
        self._holdings = read_holdings(self._patient)
        return check_files(self._patient, running=self._running)

    async def _clock(self) -> Finding:
        latest = self._told.latest
        return check_clock(self._patient, None if latest is None else datetime.fromtimestamp(latest, UTC))

    async def _credentials(self) -> Finding:
        check_cipher_suites()
        holdings = self._holdings
        return check_credentials(
            self._patient, latched=holdings.latched, unauthenticated=holdings.unauthenticated
        )

    # --- the broker --------------------------------------------------------------------------------------------

    async def _broker_route(self) -> Finding:
        return judge(self._broker, await reach(self._broker.address))

    async def _broker_login(self) -> Finding:
        if self._running:
            return Finding.skipped("this node is running, and a second login could end the first")
        return await check_broker(
            self._patient,
            broker_access(self._patient.settings, self._patient.settings.node, self._patient.folder),
        )

    # --- Alice, who dials --------------------------------------------------------------------------------------

    @property
    def _needs_bootstrap(self) -> bool:
        """Whether the next line can only be one that the trust anchor opens."""
        return not self._holdings.latched and not self._holdings.link_psks

    async def _peer_name(self) -> Finding:
        found = await check_name(self._keyed)
        if found.outcome is Outcome.OK and self._needs_bootstrap:
            return await check_name(self._bootstrap)
        return found

    async def _peer_route(self) -> Finding:
        found = await self._reach_peer()
        ended = self._last_end()  # a peer that has ended as well cannot be asked, and would end again
        return ended if ended is not None and found.outcome is Outcome.FAILED else found

    async def _reach_peer(self) -> Finding:
        keyed = (self._keyed, await reach(self._keyed.address))
        if not self._needs_bootstrap:
            return judge_peer(keyed, None)
        return judge_peer(keyed, (self._bootstrap, await reach(self._bootstrap.address)))

    async def _peer_identity(self) -> Finding:
        if self._running:
            return as_dialler(self._told, self._patient.settings.peer)
        self._line = TrialLine(self._patient, self._holdings, self._greet_as_alice)
        self._ending.push_async_callback(self._line.close)
        stranger = await stranger_at(self._keyed.who, self._keyed.address)
        return stranger or await self._line.check_identity()

    async def _parameters(self) -> Finding:
        if self._line is None:
            return Finding.skipped("this node is running and greets its peer itself")
        return await self._line.check_parameters()

    # --- Bob, who listens --------------------------------------------------------------------------------------

    async def _own_ports(self) -> Finding:
        if self._running:
            return Finding.skipped("this node is running and listens there itself")
        closed = self._holdings.latched
        return check_binding([self._keyed.address, *([] if closed else [self._bootstrap.address])])

    async def _peer_seen(self) -> Finding:
        return self._last_end() or as_listener(self._told, self._patient.settings.peer)

    def _last_end(self) -> Finding | None:
        """Say by which error the node ended, if it does not run now and nothing was changed since."""
        return None if self._running else last_end(self._told, self._patient.changed)
