"""What the demo shows: progress of light and stages, and a table with a row per block."""

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from qkdlink.common.journal.events import (
    AttackTally,
    BlockEnded,
    BlockOpened,
    BlockPostponed,
    Entry,
    EpochBegan,
    EveLearnt,
    EveState,
    HalfLinkChanged,
    LightFault,
    LightProgress,
    LineLost,
    PatchChanged,
    PeerRefused,
    ReserveCounted,
    SourceBehind,
    StageReached,
)
from qkdlink.common.journal.link_state import BlockUnderWay, LinkState
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.deployment.brokers.broker import RunningBroker
from qkdlink.deployment.launching.link_result import LinkResult
from qkdlink.eve.topics import EVE
from qkdlink.views.console import table
from qkdlink.views.outlook import Outlook
from qkdlink.views.telling import percent, told_refusal

STAGES = ("transmit", "sift", "estimate", "reconcile", "verify", "amplify", "confirm")
_TOLD_BY = "alice"
_MOST_ROWS = 20
_OTHER_ROWS = 12
"""Of a terminal: what the table leaves to its heading, to the bars of blocks under way, and to the lines above."""
_HEADINGS = ("block", "pulses", "detections", "QBER key", "QBER test", "leaked", "secret bits", "line")


class LiveView:
    """Follows the journals of both nodes; on a terminal it redraws, elsewhere it prints a line per block.

    On a terminal the latest blocks are rows of a table. What no row has room for, why a block was refused, is a line
    above it, and so is every block whose row makes room for a later one.
    """

    def __init__(self, console: Console, parameters: LinkParameters, blocks: int | None) -> None:
        self._console = console
        self._parameters = parameters
        self._blocks = blocks
        self._progress = Progress(
            TextColumn("block {task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[stage]}"),
            console=console,
        )
        self._tasks: dict[int, TaskID] = {}
        self._ended: deque[tuple[BlockEnded, str]] = deque()
        """The blocks in the table, each with what authenticated the line on which it began."""
        self._outlook = Outlook()
        self._alice = LinkState(1)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
            if self._ended:
                self._say(self._table())

    def broker(self, broker: RunningBroker) -> None:
        """Show the link, now that nothing refuses to start it, and which broker stands in for the quantum channel."""
        about = (
            "with an access list"
            if broker.has_access_list
            else "embedded: it has no access list, anybody on this machine can write to it"
            " (install mosquitto for one that has)"
        )
        self._note("link", _description(self._parameters))
        self._note("broker", f"{broker.kind} at {broker.address}, {about}")

    def watch(self, entry: Entry) -> None:
        """Take an event; Alice tells of the blocks, both tell of trouble."""
        match entry.event:
            case LightFault(fault=fault, detail=detail, frames=frames):
                self._note("light", f"{frames} frame(s) {fault}: {detail}")
            case EveState() as state:
                self._note("eve", _doing(state))
                for obstacle in state.obstacles:
                    self._note("eve", obstacle)
            case EveLearnt() as learnt:
                self._note("eve", _knowing(learnt))
            case PatchChanged(light=light, classical=words, reason=reason):
                self._note(entry.node, f"light {_way(light)}, words {_way(words)}: {reason}")
            case HalfLinkChanged(facing=facing, living=living, reason=reason):
                self._note("eve", f"program facing {facing} {'is up' if living else 'has ended'}: {reason}")
            case LineLost(reason=reason) | PeerRefused(reason=reason):
                self._note(entry.node, reason)
            case _:
                pass
        if entry.node == _TOLD_BY:
            self._hear_of_blocks(entry)

    def _hear_of_blocks(self, entry: Entry) -> None:
        told = self._alice.node(_TOLD_BY)
        began = told.under_way.get(entry.event.block_id) if isinstance(entry.event, BlockEnded) else None
        if self._alice.take(entry):
            self._look_ahead(entry)
            self._follow(entry, began)

    def eve_ended(self, words: str) -> None:
        """Say that Eve has ended, and with which words."""
        self._note("eve", told_of_eves_end(words))

    def summary(self, result: LinkResult) -> None:
        """Say what came out of the run."""
        alice, bob = result.link.alice, result.link.bob
        for tally in result.tallies:
            self._note("attack", told_tally(tally))
        if (taken := result.impersonation) is not None:
            self._note(
                "eve",
                f"she has {taken.known_of_alice} of Alice's {taken.keys_of_alice} keys and"
                f" {taken.known_of_bob} of Bob's {taken.keys_of_bob}; they share {taken.keys_in_common}",
            )
        if result.secret_bits == 0:
            self._say("No key: no block was confirmed.")
            self._say_what_eve_knows(result)
            return
        self._note("Alice", f"{result.secret_bits} secret bits, SHA-256 {alice.fingerprint}")
        bobs_bits = bob.told.totals.secret_bits
        self._note(
            "Bob", f"{bobs_bits} secret bits, fingerprint {bob.fingerprint}" if bobs_bits else "no key"
        )
        blocks = alice.told.totals.blocks
        verdict = "The keys are equal." if result.keys_equal else "THE KEYS DIFFER."
        self._say(f"{verdict} {blocks} block{'s' * (blocks != 1)} in {result.seconds:.1f} s.")
        if result.balance.unauthenticated:
            self._say("The bootstrap was without authentication: no application gets these keys.")
        self._say_what_eve_knows(result)

    def _say_what_eve_knows(self, result: LinkResult) -> None:
        """Say it last, also where one node alone has keys: those may be shared with Eve."""
        if result.eve_knows:
            self._say(
                "EVE HAS THE KEY: do not use it."
                if result.key_recovered or result.impersonation is not None
                else "EVE KNOWS OF THE KEY: do not use it."
            )

    def _note(self, label: str, what: str) -> None:
        """Print a line; what it is about stands in a column of its own, however long it is."""
        self._say(_labelled(label, what))

    def _say(self, what: str | Table) -> None:
        self._console.print(what)

    def _look_ahead(self, entry: Entry) -> None:
        """Take what Alice tells of the next block and of the reserve; a terminal shows it as long as it holds."""
        before = self._outlook.reserve_lasts
        self._outlook.look(self._alice.node(_TOLD_BY), now := time.monotonic())
        if self._console.is_terminal:
            return
        match entry.event:
            case BlockPostponed() if not self._tasks:  # while a block is under way nothing waits for the next
                self._note("next", str(self._outlook.next_block(now)))
            case ReserveCounted() if self._blocks is None and self._outlook.reserve_lasts != before:
                self._note("reserve", str(self._outlook.reserve))
            case _:
                return

    def _follow(self, entry: Entry, began: BlockUnderWay | None) -> None:
        match entry.event:
            case EpochBegan(authenticated_by=how, tls_version=version, peer=peer):
                self._note("line", f"{version} to {peer}, authenticated by {how}")
            case BlockOpened(number=number, pulses=pulses):
                self._tasks[number] = self._progress.add_task(
                    str(number), total=pulses + len(STAGES) - 1, stage="light"
                )
            case LightProgress(number=number, pulses=pulses):
                self._progress.update(self._tasks[number], completed=pulses)
            case StageReached(number=number, stage=stage):
                self._progress.update(self._tasks[number], advance=1, stage=_next_stage(stage))
            case SourceBehind(number=number, clock_hz=clock, pulses_per_second=reached, behind_s=behind):
                self._note(
                    f"block {number}",
                    f"the source is {behind:.2g} s behind its clock of {clock:.3g} Hz:"
                    f" its light left at {reached:.3g} pulses a second",
                )
            case BlockEnded() as ended:
                self._end(ended, (began and began.authenticated_by) or "no line yet")
            case _:
                return

    def _end(self, ended: BlockEnded, line: str) -> None:
        if (task := self._tasks.pop(ended.number, None)) is not None:
            self._progress.remove_task(task)
        if not self._console.is_terminal or ended.aborted is not None:
            self._note_block(ended, line)
        if self._console.is_terminal:
            self._ended.append((ended, line))
            while len(self._ended) > max(1, min(_MOST_ROWS, self._console.height - _OTHER_ROWS)):
                if (oldest := self._ended.popleft())[0].aborted is None:
                    self._note_block(*oldest)

    def _note_block(self, ended: BlockEnded, line: str) -> None:
        self._note(f"block {ended.number}", f"{_line(ended)}, {line}")

    def _render(self) -> Group:
        ahead = {
            "next": self._outlook.next_block(time.monotonic()),
            "reserve": self._outlook.reserve if self._blocks is None else None,
        }
        lines = [_labelled(label, what) for label, what in ahead.items() if what is not None]
        return Group(self._table(), self._progress, *map(Text, lines))

    def _table(self) -> Table:
        shown = table(*_HEADINGS, right=_HEADINGS[:-1])
        for ended, line in self._ended:
            shown.add_row(
                str(ended.number),
                f"{ended.pulses}",
                f"{ended.detections}",
                percent(ended.qber_key),
                percent(ended.qber_test),
                f"{ended.leaked_bits}",
                f"{ended.secret_bits}" if ended.aborted is None else f"none: {ended.aborted}",
                line,
            )
        return shown


def _labelled(label: str, what: str) -> str:
    return f"{label:8} {what}"


def _description(parameters: LinkParameters) -> str:
    light = (
        "single photons"
        if not parameters.intensities
        else "intensities "
        + ", ".join(
            f"{intensity:g} ({probability:.0%})"
            for intensity, probability in zip(parameters.intensities, parameters.probabilities, strict=True)
        )
    )
    return (
        f"{parameters.protocol} BB84 over {parameters.fibre.length_km:g} km,"
        f" {parameters.block_pulses} pulses a block, {light},"
        f" key basis {parameters.key_basis_probability:.0%}"
    )


def told_of_eves_end(words: str) -> str:
    """Say in one line that she has gone, by her last words, and that nobody else has."""
    return f"Eve has gone, and the link goes on without her: {words}"


def _doing(state: EveState) -> str:
    attacks = ", then ".join((*state.attacks, *state.treatments)) or "lets everything pass"
    return f"light {_way(state.light)}, words {_way(state.words)}; {attacks}"


_TALLIED = {"quantum": "frames of light", "classical": "pieces of the classical channel"}


def told_tally(tally: AttackTally) -> str:
    """Say what an attack has acted on, or why it could not."""
    told = f"{tally.attack} acted on {tally.acted} {_TALLIED[tally.channel]}"
    return f"{told}, without effect: {tally.obstacle}" if tally.obstacle else told


def _knowing(learnt: EveLearnt) -> str:
    return (
        f"block {learnt.number}: she knows {learnt.known_fraction_of_sifted:.2%} of {learnt.sifted_bits} sifted bits"
        f" for sure, {learnt.information_bits:.0f} bits in all; {learnt.removed_bits} bits were removed"
        + _whose(learnt)
    )


def _whose(learnt: EveLearnt) -> str:
    if learnt.key_recovered:
        return "; THE KEY IS HERS"
    return "; SHE KNOWS OF THE KEY" if learnt.key_undetermined is False else ""


def _way(route: str) -> str:
    return "through her hands" if route == EVE else "directly"


def _next_stage(stage: str) -> str:
    position = STAGES.index(stage) + 1
    return STAGES[position] if position < len(STAGES) else "done"


def _line(ended: BlockEnded) -> str:
    if ended.aborted is not None:
        return f"no key: {told_refusal(ended)}"
    return (
        f"{ended.pulses} pulses, {ended.detections} detections, QBER {percent(ended.qber_key)} key"
        f" {percent(ended.qber_test)} test, {ended.leaked_bits} bits leaked, {ended.secret_bits} secret bits"
    )
