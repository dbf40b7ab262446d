"""Eve played over the broker while the link runs: by her console, by other front ends, and by nobody else."""

import asyncio
from pathlib import Path

from textual.widgets import DataTable, Static

from common.journal.events import BlockEnded, CommandRefused, EveLearnt, EveState
from common.node.settings import load_settings
from eve.control import AttackLight, Go
from eve.settings import EveSettings
from qkdlink.eve import open_wires
from qkdlink.eve_console import EveConsole
from qkdlink.eve_scene import Scene
from tests.support.processes import until
from tests.support.splices import TOPICS, SplicedLink, spliced_link

OWN = """
from typing import ClassVar

from eve.quantum_attacks.base import Attack


class Absorber(Attack):
    name: ClassVar[str] = "absorber"

    def act(self, train, chosen, tools, notes):
        return tools.bench.split(train, 0.0)[0]
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
    async with spliced_link(tmp_path / "home", own_attacks=[f"{tmp_path}/mine.py:Absorber"]) as link:
        await link.makes_keys(1)
        await link.command(AttackLight(attacks=("absorber",)))
        await until(lambda: bool(refusals(link)), "the refusal")
        async with link.bus() as bus:
            for nonsense in (b"{", b'{"command": "attack", "attacks": ["/mine.py:Absorber"]}', 5000 * b"x"):
                await bus.publish(TOPICS.eve_control(), nonsense)
        await until(lambda: len(link.told(CommandRefused, "eve")) == 3, "three refusals")
        assert link.told(EveState, "eve")[-1].attacks == ["absorber:fraction=1.0"]
        await link.command(AttackLight(attacks=()))
        await link.makes_keys(1)
        await link.command(Go())
        assert await asyncio.wait_for(link.eve.wait(), 10) == 0
        await link.makes_keys(1)
