"""The console, played by a pilot: keys become commands, and what is told becomes visible."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from textual.widgets import DataTable, Static

from qkdlink.commands.eve import BrokerWires, play
from qkdlink.common.errors import ConfigurationError, LinkError
from qkdlink.common.journal.events import (
    AnyEvent,
    BlockEnded,
    BlockOpened,
    BlockPostponed,
    CommandRefused,
    Entry,
    EpochBegan,
    EveLearnt,
    EveState,
    NodeStopped,
    ReserveCounted,
)
from qkdlink.common.transport.mqtt import Bus, Delivery, Subscription
from qkdlink.common.wire.topics import Topics
from qkdlink.eve.classical_attacks.catalogue import TREATMENTS, treatment_from
from qkdlink.eve.control import AttackLight, Command, Go, Impersonate, Plug, Tell, TreatWords
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS, attack_from
from qkdlink.views.eve_console import EveConsole
from qkdlink.views.eve_marks import ClassicalMark, Mark
from qkdlink.views.eve_scene import SHOWN_BLOCKS, Scene
from tests.support.told import block_ended


@dataclass
class FakeWires:
    """A broker on which only this test speaks."""

    said: list[Command] = field(default_factory=list)
    told: asyncio.Queue[Entry] = field(default_factory=asyncio.Queue)
    is_away: bool = False

    async def journals(self) -> AsyncIterator[Entry]:
        while True:
            yield await self.told.get()

    async def say(self, command: Command) -> None:
        if self.is_away:
            raise LinkError("the broker is gone")
        self.said.append(command)

    def tell(self, event: AnyEvent, node: str = "eve") -> None:
        self.told.put_nowait(Entry(node=node, time=1.0, event=event))


def state(*attacks: str, light: str = "eve", words: str = "eve", impersonating: bool = False) -> EveState:
    return EveState(
        attacks=list(attacks),
        treatments=[],
        light=light,
        words=words,
        impersonating=impersonating,
        known=list(ATTACKS),
    )


def ended(number: int = 1, secret_bits: int = 0, aborted: str | None = "qber-per-basis") -> BlockEnded:
    return block_ended(number, secret_bits, aborted, "25 % of the test bits differ")


def learnt(
    number: int = 1, *, secret_bits: int = 0, key_recovered: bool = False, undetermined: bool = True
) -> EveLearnt:
    return EveLearnt(
        block_id=f"link/{number}",
        number=number,
        sifted_bits=150,
        known_fraction_of_sifted=0.5,
        guess_probability=0.75,
        information_bits=75.0,
        min_entropy_bits=75.0,
        disclosed_bits=40,
        removed_bits=130,
        secret_bits=secret_bits,
        key_recovered=key_recovered,
        key_undetermined=undetermined if secret_bits else None,
    )


def shown(app: EveConsole, place: str) -> str:
    return str(app.query_one(place, Static).render())


def heard(scene: Scene, event: AnyEvent, node: str = "eve") -> None:
    scene.hear(Entry(node=node, time=1.0, event=event))


async def test_keys_switch_attacks_and_move_their_strength():
    wires = FakeWires()
    app = EveConsole(wires, Scene())
    async with app.run_test() as pilot:
        wires.tell(state())
        await pilot.pause()
        assert wires.said == [Tell()]
        await pilot.press("down", "space", "left", "left", "down", "space", "right", "0")
    assert [command.attacks for command in wires.said[1:] if isinstance(command, AttackLight)] == [
        ("intercept-resend:fraction=1.0",),
        ("intercept-resend:fraction=0.95",),
        ("intercept-resend:fraction=0.9",),
        ("intercept-resend:fraction=0.9", "breidbart:fraction=1.0"),
        ("intercept-resend:fraction=0.9", "breidbart:fraction=1.0"),
        (),
    ]


async def test_when_the_next_block_comes_and_how_long_the_reserve_lasts_is_shown_and_counted_down():
    now = [1000.0]
    scene = Scene(now=lambda: now[0])
    app = EveConsole(FakeWires(), scene)
    async with app.run_test(size=(160, 40)) as pilot:
        heard(scene, ReserveCounted(blocks_payable=140, seconds_to_starvation=5390.0), "alice")
        heard(scene, BlockPostponed(number=8, pause_s=75.0, reason="the last block made no key"), "alice")
        heard(scene, BlockPostponed(number=9, pause_s=1.0, reason="this is another's"), "bob")
        now[0] += 15
        app.show()
        await pilot.pause()
        assert shown(app, "#ahead").splitlines() == [
            "next: block 8 in 60 s: the last block made no key",
            "the reserve pays for 140 more blocks; if all of them fail, it is empty in 1 h 29 min",
        ]
        heard(scene, BlockOpened(block_id="link/8", number=8, pulses=1), "alice")
        assert scene.ahead.startswith("the reserve")


async def test_keys_plug_her_impersonate_and_let_her_go():
    wires = FakeWires()
    app = EveConsole(wires, Scene())
    async with app.run_test() as pilot:
        await pilot.press("l", "w", "i")  # nobody knows yet where she sits
        wires.tell(state(words="direct"))
        await pilot.pause()
        await pilot.press("l", "w", "i", "g")
    assert wires.said == [
        Tell(),
        Plug(light="direct", words="direct"),
        Plug(light="direct", words="eve"),
        Impersonate(on=True),
        Go(),
    ]


async def test_a_key_pressed_twice_before_eve_answers_does_what_the_screen_shows():
    wires = FakeWires()
    app = EveConsole(wires, Scene())
    async with app.run_test(size=(160, 40)) as pilot:
        wires.tell(state())
        await pilot.pause()
        await pilot.press("l")
        assert shown(app, "#place").startswith("light direct, words through her (she has not answered yet)")
        await pilot.press("l", "i", "i", "down", "space", "space")
        assert wires.said[1:] == [
            Plug(light="direct", words="eve"),
            Plug(light="eve", words="eve"),
            Impersonate(on=True),
            Impersonate(on=False),
            AttackLight(attacks=("intercept-resend:fraction=1.0",)),
            AttackLight(attacks=()),
        ]
        wires.tell(state(light="direct"))  # her answer to the first of them changes nothing that is shown
        await pilot.pause()
        assert shown(app, "#place").startswith("light through her, words through her (she")
        for answer in (
            state(),
            CommandRefused(reason="nothing to impersonate with"),
            CommandRefused(reason="nor to give back"),
            state("intercept-resend:fraction=1.0"),
        ):
            wires.tell(answer)
        wires.tell(state())
        await pilot.pause()
        assert shown(app, "#place") == "light through her, words through her"
        assert not app.scene.chain


async def test_keys_reach_every_attack_on_the_classical_channel_and_its_strength():
    wires = FakeWires()
    app = EveConsole(wires, Scene())
    async with app.run_test() as pilot:
        wires.tell(state())
        await pilot.pause()
        await pilot.press(*["down"] * len(ATTACKS))
        for _ in TREATMENTS:
            await pilot.press("space", "left", "right", "space", "down")
    told = [command.treatments for command in wires.said if isinstance(command, TreatWords)]
    made = [[treatment_from(text) for text in texts] for texts in told if texts]
    assert {attack.name for attacks in made for attack in attacks} == set(TREATMENTS)
    assert ("tamper:every=2",) in told
    assert ("cut:after_bytes=1000",) in told
    assert ("delay:seconds=0.05",) in told
    assert told[-1] == ()


@pytest.mark.parametrize("name", TREATMENTS)
def test_every_attack_on_the_classical_channel_keeps_its_strength_within_its_scale(name: str):
    mark = ClassicalMark(name)
    for steps in (-100, 100, -1):
        mark.move(steps)
        assert 0 <= mark.strength <= 1
        assert treatment_from(mark.text).name == name
        assert mark.told


def test_what_cannot_act_is_shown_where_she_sits():
    scene = Scene()
    why = "photon-number-splitting has nothing to split: no pulse of this source has more than one photon."
    heard(scene, state("photon-number-splitting:fraction=1.0").model_copy(update={"obstacles": [why]}))
    assert why in scene.place


async def test_error_rates_her_knowledge_and_what_the_nodes_believe_are_shown():
    wires = FakeWires()
    app = EveConsole(wires, Scene())
    async with app.run_test(size=(160, 40)) as pilot:
        wires.tell(state("intercept-resend:fraction=0.5,bases=random"))
        wires.tell(
            EpochBegan(
                epoch=1,
                session="5e",
                authenticated_by="tls-psk",
                tls_version="TLSv1.3",
                key_id=None,
                peer="bob",
                peer_fingerprint=None,
            ),
            "alice",
        )
        wires.tell(ended(), "alice")
        wires.tell(ended(2, 20, None), "alice")
        wires.tell(learnt())
        wires.tell(learnt(2, secret_bits=20))
        wires.tell(CommandRefused(reason="No attack is called 'x'."))
        await pilot.pause()
        blocks = app.query_one("#blocks", DataTable)
        assert blocks.get_row_at(1) == [
            "1", "-", "25.00%", "50.00%", "75 of 150", "130", "0", "refused: qber-per-basis",
        ]  # fmt: skip
        assert blocks.get_row_at(0)[-1] == "a key, not hers"
        marked = [str(cell) for cell in app.query_one("#marks", DataTable).get_row_at(1)]
        assert (marked[0], marked[1], marked[2][-3:]) == ("●", "intercept-resend", "50%")
        assert "is sure to talk with bob, by tls-psk" in shown(app, "#beliefs")
        assert "1 keys, 20 secret bits, 1 blocks refused" in shown(app, "#beliefs")
        assert "came to 75 bits and heard 40, 130 were removed, 20 are left and not hers" in shown(
            app, "#balance"
        )
        assert "through her" in shown(app, "#place")
        assert "No attack is called 'x'" in shown(app, "#words")


async def test_a_broker_that_is_away_is_said_and_ends_nothing():
    wires = FakeWires(is_away=True)
    app = EveConsole(wires, Scene())
    async with app.run_test() as pilot:
        wires.tell(state())
        await pilot.pause()
        await pilot.press("space")
        assert "the broker is gone" in shown(app, "#words")


async def test_q_leaves_the_console_and_tells_eve_nothing():
    wires = FakeWires()
    app = EveConsole(wires, Scene())
    async with app.run_test() as pilot:
        await pilot.press("q")
        await pilot.pause()
    assert wires.said == [Tell()]
    assert not app.is_running


def test_a_key_that_is_hers_is_called_hers():
    scene = Scene()
    heard(scene, ended(1, 20, None), "alice")
    heard(scene, learnt(1, secret_bits=20, key_recovered=True, undetermined=False))
    assert [row.verdict for row in scene.rows.values()] == ["HER KEY"]
    assert "THE KEY IS HERS" in scene.balance


def test_a_key_of_which_she_knows_a_part_is_not_called_not_hers():
    scene = Scene()
    heard(scene, ended(1, 20, None), "alice")
    heard(scene, learnt(1, secret_bits=20, undetermined=False))
    assert [row.verdict for row in scene.rows.values()] == ["a key she knows of"]
    assert scene.balance.endswith("20 are left: SHE KNOWS OF THE KEY.")


def test_moving_the_strength_keeps_every_other_setting_and_stays_within_0_and_1():
    scene = Scene()
    heard(scene, state("intercept-resend:fraction=0.1,bases=key,gain_matching=True"))
    (mark,) = (each for each in scene.marks if each.on)
    for steps, strength in ((-5, 0.0), (30, 1.0), (-1, 0.95)):
        mark.move(steps)
        assert mark.strength == strength
    assert scene.chain == ["intercept-resend:fraction=0.95,bases=key,gain_matching=True"]


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_can_be_switched_on_from_the_console(name: str):
    assert attack_from(Mark(name).text).name == name


def test_what_another_front_end_has_switched_is_seen_here():
    scene = Scene()
    heard(scene, state("breidbart:fraction=0.3"))
    heard(scene, state("mine:x=1"))
    assert scene.chain == ["mine:x=1"]
    assert {mark.name: mark.strength for mark in scene.marks}["breidbart"] == 0.3


def test_only_the_latest_blocks_are_shown():
    scene = Scene()
    for number in range(1, 100):
        heard(scene, ended(number), "alice")
    assert [row.number for row in scene.rows.values()] == list(range(100 - SHOWN_BLOCKS, 100))


def test_eve_who_has_gone_is_not_shown_any_more():
    scene = Scene()
    heard(scene, state())
    heard(scene, NodeStopped(reason="ended"))
    assert "is she there?" in scene.place


def test_one_of_home_and_configuration_has_to_be_named(tmp_path: Path):
    for home, config in ((None, None), (tmp_path, tmp_path)):
        with pytest.raises(ConfigurationError, match="either"):
            play(home, config)
    with pytest.raises(ConfigurationError, match="no configuration file"):
        play(tmp_path, None)


def numbered(node: str, number: int, event: AnyEvent) -> Entry:
    return Entry(node=node, run="a", number=number, time=1.0, event=event)


def test_an_entry_that_comes_twice_counts_once_and_a_gap_in_a_journal_is_shown():
    scene = Scene()
    for number in (4, 5, 5, 4, 8):
        scene.hear(numbered("bob", number, ended(number, 100, None)))
    assert scene.beliefs["bob"].keys == 3
    assert list(scene.words) == ["bob: 2 entries of the journal did not arrive"]


async def test_a_node_is_heard_on_its_own_topic_alone():
    """Eve's two programs write on her topic, under the names of the nodes that they impersonate."""
    topics = Topics("link-1")
    told = {name: Subscription(topics.journal(name)) for name in ("alice", "bob", "eve")}
    stopped = NodeStopped(reason="ended")
    for topic, node in (("eve", "alice"), ("eve", "bob"), ("bob", "alice"), ("eve", "eve")):
        told[topic].put(Delivery(numbered(node, 1, stopped).model_dump_json().encode(), retained=False))
    told["eve"].put(Delivery(b"no entry", retained=False))
    told["eve"].put(Delivery(numbered("eve", 2, stopped).model_dump_json().encode(), retained=False))
    journals = BrokerWires(cast("Bus", None), topics, told).journals()
    async with asyncio.timeout(10):
        heard_of = [await anext(journals) for _ in range(2)]
    await cast("AsyncGenerator[Entry]", journals).aclose()
    assert [(entry.node, entry.number) for entry in heard_of] == [("eve", 1), ("eve", 2)]
