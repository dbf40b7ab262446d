"""A link whose words take ten milliseconds there and back: more blocks are under way, and their waiting overlaps."""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from qkdlink.common.journal.events import BlockEnded, BlockOpened, Entry
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.homes.names import ALICE
from qkdlink.deployment.launching.link_run import LinkRun, Observer
from qkdlink.deployment.launching.running_link import run_link
from qkdlink.lab.faults.rough_line import long_line
from tests.support.processes import small_parameters

ROUND_TRIP_S = 0.01
BLOCKS = 10
UNCOUNTED = 4
"""Blocks of the bootstrap, in which little is under way, and from which Alice learns how long the line is."""


@dataclass
class Watched:
    """What Alice tells of her blocks."""

    living: int = 0
    most: int = 0
    ended: list[tuple[float, BlockEnded]] = field(default_factory=list)

    def watch(self, entry: Entry) -> None:
        if entry.node != ALICE:
            return
        match entry.event:
            case BlockOpened():
                self.living += 1
                self.most = max(self.most, self.living)
            case BlockEnded():
                self.living -= 1
                self.ended.append((entry.time, entry.event))
            case _:
                pass

    @property
    def counted(self) -> list[BlockEnded]:
        return [block for _, block in self.ended[UNCOUNTED:]]

    @property
    def seconds_per_block(self) -> float:
        return (self.ended[-1][0] - self.ended[UNCOUNTED - 1][0]) / len(self.counted)


async def test_over_a_long_line_more_blocks_are_under_way_and_one_takes_half_as_long_as_it_lives(
    tmp_path: Path,
):
    watched = Watched()
    async with run_link(
        open_home(tmp_path / "home"),
        LinkRun(small_parameters(), blocks=BLOCKS, line=long_line(ROUND_TRIP_S)),
        Observer(watch=watched.watch),
    ) as link:
        await link.until_done()
    assert len(watched.ended) == BLOCKS
    assert all(block.secret_bits for _, block in watched.ended)
    for block in watched.counted:  # the line is as long as it claims to be
        assert block.seconds > block.exchanges * ROUND_TRIP_S
    assert watched.most >= 4  # 2 where words are quick
    assert watched.seconds_per_block < fmean(block.seconds for block in watched.counted) / 2
