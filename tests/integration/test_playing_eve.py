"""Eve played over the broker while the link runs: by her console, by other front ends, and by nobody else."""

import asyncio
import json
import tomllib
from pathlib import Path

import pytest
from textual.widgets import DataTable, Static

from qkdlink.cli import main
from qkdlink.commands.eve import open_wires
from qkdlink.common.journal.events import (
    BlockEnded,
    BlockOpened,
    CommandRefused,
    EveLearnt,
    EveState,
    NodeStopped,
    PatchChanged,
)
from qkdlink.common.node.settings import load_settings
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.brokers.broker import find_mosquitto
from qkdlink.deployment.brokers.ports import LOOPBACK, free_port
from qkdlink.deployment.homes.configuration import LinkAddresses, Splice
from qkdlink.deployment.homes.installation import Installation, install
from qkdlink.eve.control import AttackLight, Go
from qkdlink.eve.settings import EveSettings
from qkdlink.eve.topics import control_topic
from qkdlink.lab.faults.kill_trials import tiny_parameters
from qkdlink.views.eve_console import EveConsole
from qkdlink.views.eve_scene import Scene
from tests.support.processes import Journal, until
from tests.support.splices import BRISK, TOPICS, SplicedLink, spliced_link
from tests.support.terminals import on_a_terminal, programs

OWN = """
from typing import ClassVar

from qkdlink.eve.quantum_attacks.base import Attack


class Absorber(Attack):
    name: ClassVar[str] = "absorber"

    def act(self, train, chosen, tools, notes):
        return tools.bench.split(train, 0.0)[0]


class Sleeper(Attack):
    name: ClassVar[str] = "sleeper"

    def act(self, train, chosen, tools, notes):
        while True:
            pass


class Leaver(Attack):
    name: ClassVar[str] = "leaver"

    def act(self, train, chosen, tools, notes):
        raise SystemExit(0)
"""


def refusals(link: SplicedLink) -> set[str]:
    """Who has refused blocks at Alice, so far."""
    return {str(block.aborted) for block in link.told(BlockEnded, "alice") if block.aborted}


async def test_a_person_plays_eve_from_the_console(tmp_path: Path) -> None:
    async with spliced_link(tmp_path / "home", lends=True) as link, link.bus() as bus:
        wires = await open_wires(bus, load_settings(EveSettings, tmp_path / "home" / "eve" / "node.toml"))
        console = EveConsole(wires, Scene())
        async with console.run_test(size=(160, 50)) as pilot:
            await until(lambda: bool(console.scene.marks), "her answer")
            names = [mark.name for mark in console.scene.marks]
            await pilot.press(*["down"] * names.index("intercept-resend"), "space")
            await until(lambda: "qber-per-basis" in refusals(link), "the refusal")
            assert link.told(EveState, "eve")[-1].attacks[0].startswith("intercept-resend:fraction=1.0")
            await pilot.press("l")
            await until(lambda: bool(link.told(PatchChanged, "bob")), "light that goes directly")
            await until(lambda: link.told(PatchChanged, "bob")[-1].light == "direct", "Bob's own plug")
            await link.makes_keys(2)
            assert link.told(EveState, "eve")[-1].attacks, "she is armed, and it is of no use to her"
            keys = [each for each in link.told(EveLearnt, "eve") if each.secret_bits]
            assert {each.known_fraction_of_sifted for each in keys} == {0.0}
            await pilot.press("0")
            await link.makes_keys(1)
            learnt = link.told(EveLearnt, "eve")
            assert max(each.known_fraction_of_sifted for each in learnt) > 0.4
            assert not any(each.key_recovered for each in learnt)
            await until(
                lambda: "keys," in str(console.query_one("#beliefs", Static).render()), "their beliefs"
            )
            shown = console.query_one("#blocks", DataTable)
            rows = [shown.get_row_at(row) for row in range(shown.row_count)]
            assert {"refused: qber-per-basis", "a key, not hers"} & {row[-1] for row in rows}
            await pilot.press("g")
            await until(lambda: link.eve.returncode == 0, "her end")
        await link.makes_keys(1)


async def test_an_attack_of_ones_own_is_switched_by_its_name_and_nonsense_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    own = [f"{tmp_path}/mine.py:{name}" for name in ("Absorber", "Sleeper")]
    async with spliced_link(tmp_path / "home", own_attacks=own) as link:
        await link.makes_keys(1)
        await link.command(AttackLight(attacks=("absorber",)))
        await until(lambda: bool(refusals(link)), "the refusal")
        async with link.bus() as bus:
            for nonsense in (b"{", b'{"command": "attack", "attacks": ["/mine.py:Absorber"]}', 5000 * b"x"):
                await bus.publish(control_topic(TOPICS), nonsense)
        await until(lambda: len(link.told(CommandRefused, "eve")) == 3, "three refusals")
        assert link.told(EveState, "eve")[-1].attacks == ["absorber:fraction=1.0"]
        await link.command(AttackLight(attacks=()))
        await link.makes_keys(1)
        await link.command(AttackLight(attacks=("sleeper",)))
        begun = len(link.told(BlockOpened, "alice"))
        await until(lambda: len(link.told(BlockOpened, "alice")) > begun, "a block that is never through")
        await link.command(Go())
        assert await asyncio.wait_for(link.eve.wait(), 10) == 0
        await link.makes_keys(1)
        assert link.link.eve is not None
        assert link.link.eve.gone == "eve ended with status 0"


def test_an_attack_of_ones_own_that_goes_wrong_is_named_and_the_demo_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    blocks = ["--protocol", "single-photon", "--block-pulses", "80000", "--blocks", "4"]
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "demo",
                "--json",
                *blocks,
                "--attack",
                f"{tmp_path}/mine.py:Leaver",
                "--home",
                f"{tmp_path}/home",
            ]
        )
    told = f"The attack Leaver in {tmp_path}/mine.py went wrong: SystemExit: 0."
    said = capsys.readouterr()
    assert said.err == f"qkdlink: Eve has gone, and the link goes on without her: {told}\n"
    eve = json.loads(said.out)["eve"]
    assert (eve["ended"], eve["key_recovered"]) == (told, False)
    alice = tomllib.loads((tmp_path / "home/sites/site-a/links/link-1/node.toml").read_text())
    assert alice["reserve_lasts_s"] == 5400, "pauses of a link that is attacked on purpose are short at first"
    assert ended.value.code == 0, "the link has made a key without her"
    assert Journal(tmp_path / "home/eve/journal.jsonl").of(NodeStopped) == [NodeStopped(reason=told)]


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
async def test_an_installations_eve_is_played_on_a_terminal(tmp_path: Path) -> None:
    """What compose runs: five programs with an own folder each, the console on a pseudo-terminal."""
    addresses = [Address(LOOPBACK, free_port()) for _ in range(5)]
    site = Installation(LinkAddresses(*addresses[:3]), alice=BRISK, eve=Splice(*addresses[3:]))
    install(tmp_path / "link", {"--eve": "here"}, site, tiny_parameters())
    async with programs(tmp_path / "link") as journals:
        await until(lambda: len(journals["alice"].keys) > 1, "keys", 60)
        assert journals["bob"].of(PatchChanged)[-1].light == "eve"
        with on_a_terminal("eve", "--config", str(tmp_path / "link/eve/node.toml")) as terminal:
            await until(lambda: "intercept-resend" in terminal.shown(), "the console", 60)
            terminal.press("\x1b[B ")  # down, and choose
            await until(lambda: bool(journals["eve"].of(EveState)[-1].attacks), "her attack")
            assert journals["eve"].of(EveState)[-1].attacks[0].startswith("intercept-resend")
            await until(
                lambda: any(block.aborted for block in journals["alice"].blocks.values()), "a refusal"
            )
            terminal.press("q")
            await until(lambda: bool(terminal.shown()) and terminal.process.poll() == 0, "its end")
