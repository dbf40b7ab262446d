"""`qkdlink eve`: a terminal application in which a person plays Eve.

It speaks with her over the broker alone, by her control topic and everybody's journals, as any other front end can.
"""

from collections.abc import AsyncIterator
from typing import ClassVar, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Footer, Sparkline, Static

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import Entry
from qkdlink.common.wire.patch import Route
from qkdlink.eve.control import AttackLight, Command, Go, Impersonate, Plug, Tell, TreatWords
from qkdlink.eve.topics import EVE
from qkdlink.views.eve_marks import Mark
from qkdlink.views.eve_scene import HEADINGS, UNSEEN, Scene

_BAR = 10


class Wires(Protocol):
    """What the console has of the world."""

    def journals(self) -> AsyncIterator[Entry]:
        """Everything that Alice, Bob and Eve tell from now on."""

    async def say(self, command: Command) -> None:
        """Tell Eve something; LinkError if the broker is away."""


class EveConsole(App[None]):
    """The console; `scene` is what it shows."""

    TITLE = "Eve"
    CSS = """
    #attacks { width: 52; height: 100%; }
    #blocks { height: 1fr; }
    Sparkline { height: 2; }
    .told { height: auto; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "switch", "switch"),
        Binding("right,plus", "move(1)", "stronger", priority=True),
        Binding("left,minus", "move(-1)", "weaker", priority=True),
        Binding("0", "transparent", "transparent"),
        Binding("l", "plug('light')", "light"),
        Binding("w", "plug('words')", "words"),
        Binding("i", "impersonate", "both places"),
        Binding("g", "go", "Eve goes"),
        Binding("q", "quit", "leave"),
    ]

    def __init__(self, wires: Wires, scene: Scene) -> None:
        super().__init__()
        self.wires = wires
        self.scene = scene
        self._marks: DataTable[Text] = DataTable(id="marks", cursor_type="row")
        self._blocks: DataTable[str] = DataTable(id="blocks", show_cursor=False)
        self._errors = Sparkline(id="errors", summary_function=max)
        self._told = {
            name: Static(id=name, classes="told")
            for name in ("place", "ahead", "balance", "beliefs", "words")
        }

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        with Horizontal():
            with Vertical(id="attacks"):
                yield self._marks
            with Vertical():
                yield self._told["place"]
                yield self._told["ahead"]
                yield self._blocks
                yield Static("errors in the test basis, block by block", classes="told")
                yield self._errors
                yield self._told["balance"]
                yield self._told["beliefs"]
                yield self._told["words"]
        yield Footer()

    async def on_mount(self) -> None:
        """Begin to listen, and ask Eve what she does."""
        self._marks.add_columns("", "attack", "strength")
        self._blocks.add_columns(*HEADINGS)
        self._blocks.can_focus = False
        self._marks.focus()
        self.show()
        self.set_interval(1.0, self._show_ahead)
        self.run_worker(self._listen(), name="journals")

    async def _listen(self) -> None:
        self.scene.ask()
        await self.tell(Tell())
        async for entry in self.wires.journals():
            self.scene.hear(entry)
            if not isinstance(entry.event, UNSEEN):
                self.show()

    async def tell(self, command: Command) -> None:
        """Tell Eve something, or say that nobody hears it."""
        try:
            await self.wires.say(command)
        except LinkError as error:
            self.scene.unheard()
            self.scene.words.append(str(error))
        self.show()

    async def action_switch(self) -> None:
        """Switch the attack under the cursor on or off."""
        if (mark := self._marked()) is not None:
            mark.on = not mark.on
            await self._attack(mark)

    async def action_move(self, steps: int) -> None:
        """Move the strength of the attack under the cursor."""
        if (mark := self._marked()) is not None:
            mark.move(steps)
            self.show()
            if mark.on:
                await self._attack(mark)

    async def action_transparent(self) -> None:
        """Let everything pass, on both channels."""
        attacked = [mark for mark in self.scene.marks if mark.on]
        for mark in attacked:
            mark.on = False
        for mark in {mark.channel: mark for mark in attacked}.values():
            await self._attack(mark)

    async def action_plug(self, what: str) -> None:
        """Plug Eve into light or words, or out of it."""
        if (wanted := self.scene.wanted) is not None:
            light, words = _other(wanted.light, what == "light"), _other(wanted.words, what == "words")
            self.scene.ask(light=light, words=words)
            await self.tell(Plug(light=light, words=words))

    async def action_impersonate(self) -> None:
        """Take both nodes' places, or give them back."""
        if (wanted := self.scene.wanted) is not None:
            self.scene.ask(impersonating=not wanted.impersonating)
            await self.tell(Impersonate(on=not wanted.impersonating))

    async def action_go(self) -> None:
        """Let Eve end."""
        await self.tell(Go())

    async def _attack(self, mark: Mark) -> None:
        """Tell Eve of all attacks that are marked on the channel of this one."""
        self.scene.ask()
        self.show()
        await self.tell(
            AttackLight(attacks=tuple(self.scene.chain))
            if mark.channel == "quantum"
            else TreatWords(treatments=tuple(self.scene.treatments))
        )

    def _marked(self) -> Mark | None:
        row = self._marks.cursor_row
        return self.scene.marks[row] if 0 <= row < len(self.scene.marks) else None

    def show(self) -> None:
        """Draw the scene."""
        scene = self.scene
        self._show_marks()
        self._blocks.clear()
        for row in reversed(scene.rows.values()):
            self._blocks.add_row(*row.cells)
        self._errors.data = list(scene.test_errors)
        beliefs = [
            f"{name} {belief.line}\n  {belief.keys} keys, {belief.secret_bits} secret bits,"
            f" {belief.refused} blocks refused; {belief.last}"
            for name, belief in scene.beliefs.items()
        ]
        for place, told in (
            ("place", scene.place),
            ("balance", scene.balance),
            ("beliefs", "\n".join(beliefs)),
            ("words", "\n".join(scene.words)),
        ):
            self._told[place].update(Text(told))
        self._show_ahead()

    def _show_ahead(self) -> None:
        """Draw what changes with the time alone."""
        self._told["ahead"].update(Text(self.scene.ahead))

    def _show_marks(self) -> None:
        cursor = self._marks.cursor_row
        self._marks.clear()
        for mark in self.scene.marks:
            filled = round(_BAR * mark.strength)
            bar = f"{'█' * filled}{'·' * (_BAR - filled)} {mark.told}"
            style = "bold red" if mark.on else ""
            self._marks.add_row(*(Text(cell, style) for cell in ("●" if mark.on else "○", mark.name, bar)))
        self._marks.move_cursor(row=cursor)


def _other(route: str, turned: bool) -> Route:  # noqa: FBT001 - read beside the two sockets that it is for
    through_eve = (route == EVE) != turned
    return "eve" if through_eve else "direct"
