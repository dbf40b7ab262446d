"""The launcher: reads everything that its nodes say, and says itself what one of them died of."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import BlockEnded, Entry
from qkdlink.common.journal.link_state import LinkState
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.launching.link_run import LinkRun, Observer
from qkdlink.deployment.launching.node_process import NodeProcess
from qkdlink.deployment.launching.running_link import RunningLink, run_link
from qkdlink.deployment.processes.endings import told_end
from tests.support.processes import small_parameters, until
from tests.support.splices import spliced_link

PARAMETERS = small_parameters(pulses=100_000)
TALKATIVE = (
    "import sys; [print('x' * 99, file=sys.stderr) for _ in range(50_000)]; print('the end', file=sys.stderr)"
)


async def test_a_node_that_writes_megabytes_for_a_person_is_not_stopped_by_it() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", TALKATIVE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    node = NodeProcess(
        "bob", process, reports=asyncio.StreamReader(), words=process.stderr, state=LinkState()
    )
    async with asyncio.timeout(20):
        await node.listen()
        assert await process.wait() == 0
    assert node.last_words == "the end"


@pytest.mark.parametrize("victim", ["alice", "bob"])
async def test_a_node_that_dies_is_the_launchers_error_and_takes_the_link_with_it(
    tmp_path: Path, victim: str
) -> None:
    links: list[RunningLink] = []

    async def until_one_dies() -> None:
        async with run_link(open_home(tmp_path / "home"), LinkRun(PARAMETERS, blocks=0)) as link:
            links.append(link)
            await until(lambda: bool(link.bob.told.ended), "a block")
            node = link.alice if victim == "alice" else link.bob
            os.kill(node.process.pid, signal.SIGKILL)
            await link.until_done()

    with pytest.raises(LinkError, match=f"{victim} was ended by SIGKILL: "):
        await until_one_dies()
    assert links[0].alice.process.returncode is not None
    assert links[0].bob.process.returncode is not None


async def test_eve_who_ends_takes_nobody_with_her_and_no_notice_is_a_last_word(tmp_path: Path) -> None:
    last_words: list[str] = []
    async with spliced_link(tmp_path / "home", lends=True, on_eve_end=last_words.append) as spliced:
        link = spliced.link
        done = asyncio.create_task(link.until_done())
        await spliced.makes_keys(1)
        spliced.signal_eve(signal.SIGKILL)
        await until(lambda: bool(last_words), "her end")
        await spliced.makes_keys(1)
        assert not done.done()
        assert "INSECURE" in link.alice.notice
        os.kill(link.alice.process.pid, signal.SIGKILL)
        with pytest.raises(LinkError, match=r"^alice was ended by SIGKILL: "):
            await done
    assert link.eve is not None
    assert [link.eve.gone] == last_words == [told_end("eve", -9)]


async def test_the_launchers_error_is_the_sentence_of_the_node_that_could_not_live(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    (home.node("bob") / "light-seal.key").unlink()
    async with run_link(home, LinkRun(PARAMETERS, blocks=0)) as link:
        with pytest.raises(LinkError, match=r"^bob: The light seal .* cannot be read"):
            await link.until_done()


async def test_a_run_is_watched_as_it_happens_and_its_parts_are_all_told(tmp_path: Path) -> None:
    seen: list[Entry] = []
    async with run_link(
        open_home(tmp_path / "home"), LinkRun(PARAMETERS, blocks=2), Observer(watch=seen.append)
    ) as link:
        await link.until_done()
        for node in (link.alice, link.bob):
            assert sorted(block.number for block in node.told.ended) == [1, 2]
            assert node.told.has_settled({block.block_id for block in link.alice.told.ended})
            assert not node.told.has_settled({"link-1/of another session/1"})
        assert link.alice.fingerprint == link.bob.fingerprint
    ended = [(entry.node, entry.event.number) for entry in seen if isinstance(entry.event, BlockEnded)]
    assert sorted(ended) == [("alice", 1), ("alice", 2), ("bob", 1), ("bob", 2)]
