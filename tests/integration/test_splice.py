"""The splice can be put in and taken out of a living link, and whatever becomes of Eve gives the link back.

Four processes: broker, Alice, Bob and Eve.
"""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from qkdlink.common.errors import LinkError
from qkdlink.common.journal.events import (
    BlockEnded,
    EveState,
    LineLost,
    NodeStopped,
    PatchChanged,
    PatchRefused,
)
from qkdlink.common.wire.patch import LONGEST_PATCH_BYTES, Patch
from qkdlink.deployment.brokers.broker import find_mosquitto
from qkdlink.eve.control import Plug
from qkdlink.eve.topics import control_topic
from tests.support.processes import until
from tests.support.splices import PATIENCE_S, TOPICS, Cable, SplicedLink, eve_behind, spliced_link

NOTICED_S = 40.0
"""Her keep-alive, the watchdog's patience, six seconds in all, and a machine that is busy with other things."""

pytestmark = pytest.mark.asyncio(loop_scope="module")

needs_access_list = pytest.mark.skipif(find_mosquitto() is None, reason="amqtt has no access list")


def way(link: SplicedLink, node: str) -> tuple[str, str] | None:
    """How a node is plugged now."""
    told = link.told(PatchChanged, node)
    return (told[-1].light, told[-1].classical) if told else None


async def is_plugged(link: SplicedLink, light: str, words: str) -> None:
    """Wait until both nodes are."""
    await until(
        lambda: way(link, "alice") == way(link, "bob") == (light, words),
        f"light {light}, words {words}",
        NOTICED_S,
    )


async def gives_the_link_back(link: SplicedLink) -> None:
    """Both nodes are plugged directly, keys flow again, and both ends hold the same ones."""
    await is_plugged(link, "direct", "direct")
    await link.agrees()
    assert {b.aborted for b in link.told(BlockEnded, "bob")} <= {
        None,
        "light-lost",
        "connection-lost",
        "pending",
    }


NONSENSE = {
    "no-json": b"{",
    "unknown-route": b'{"light":"moon"}',
    "surplus": b'{"light":"eve","trust":"eve"}',
    "too-bright": b'{"light":"eve","probe_photons":1e13}',
    "too-long": b" " * (LONGEST_PATCH_BYTES + 1),
    "not-text": b"\xff\x00",
}


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    """Eve's way to the broker."""
    with pytest.MonkeyPatch.context() as patch:
        yield eve_behind(patch)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def link(cable: Cable, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SplicedLink]:
    """One link that most of these tests share, with Eve plugged into light and words at the beginning of each."""
    folder = tmp_path_factory.mktemp("splice") / "home"
    async with cable.laid(), spliced_link(folder) as shared:
        yield shared


async def test_keys_flow_through_eve(link: SplicedLink) -> None:
    await is_plugged(link, "eve", "eve")
    await link.makes_keys()
    assert link.told(EveState, "eve")[-1].attacks == []
    assert not link.told(LineLost, "alice")


@needs_access_list
@pytest.mark.parametrize("node", ["alice", "bob"])
async def test_no_node_can_plug_eve_in_or_tell_her_what_to_do(link: SplicedLink, node: str) -> None:
    await is_plugged(link, "eve", "eve")
    states, changes = len(link.told(EveState, "eve")), len(link.told(PatchChanged, "bob"))
    async with link.bus(node) as bus:
        for topic, message in (
            (TOPICS.patch(), Patch().encode()),
            (control_topic(TOPICS), b'{"command": "tell"}'),
            (control_topic(TOPICS), b'{"command": "go"}'),
        ):
            with pytest.raises(LinkError, match=f"on {topic}: this node may not write there"):
                await bus.publish(topic, message, retain=topic == TOPICS.patch())
    await link.makes_keys(1)
    assert len(link.told(PatchChanged, "bob")) == changes
    assert len(link.told(EveState, "eve")) == states
    assert link.eve.returncode is None


async def only_these_legs_carry_light(link: SplicedLink, light: str) -> None:
    """Wait for two more keys, and look on which legs frames have come meanwhile."""
    async with link.bus("bob") as his, link.bus("eve") as hers:
        direct = await his.subscribe(TOPICS.light("site-a", "site-b"))
        legs = (
            await hers.subscribe(TOPICS.light("site-a", "eve")),
            await his.subscribe(TOPICS.light("eve", "site-b")),
        )
        await link.makes_keys(2)
        came = [subscription.ready() is not None for subscription in (direct, *legs)]
        assert came == ([True, False, False] if light == "direct" else [False, True, True])


@pytest.mark.parametrize(("light", "words"), [("eve", "direct"), ("direct", "eve"), ("direct", "direct")])
async def test_either_splice_alone_carries_keys(link: SplicedLink, light: str, words: str) -> None:
    await is_plugged(link, "eve", "eve")
    await link.command(Plug(light=light, words=words))
    await is_plugged(link, light, words)
    if (
        link.link.broker.has_access_list
    ):  # further readers of light made the embedded broker late with the panel
        await only_these_legs_carry_light(link, light)
    else:
        await link.makes_keys(1)
    await link.command(Plug(light="eve", words="eve"))


async def test_nonsense_at_the_panel_is_refused_and_told_and_changes_nothing(link: SplicedLink) -> None:
    await is_plugged(link, "eve", "eve")
    changes = len(link.told(PatchChanged, "alice"))
    async with link.bus() as bus:
        for payload in NONSENSE.values():
            await bus.publish(TOPICS.patch(), payload)
    for node in ("alice", "bob"):
        await until(
            lambda node=node: len(link.told(PatchRefused, node)) >= len(NONSENSE), "the refusals", PATIENCE_S
        )
    await link.makes_keys(1)
    assert len(link.told(PatchChanged, "alice")) == changes


async def test_stopped_eve_gives_the_link_back_and_may_come_again(link: SplicedLink) -> None:
    await is_plugged(link, "eve", "eve")
    link.signal_eve(signal.SIGSTOP)
    try:
        await gives_the_link_back(link)
    finally:
        link.signal_eve(signal.SIGCONT)
    await is_plugged(link, "eve", "eve")
    await link.makes_keys(1)


async def test_eve_cut_off_from_the_network_gives_the_link_back_and_may_come_again(
    link: SplicedLink, cable: Cable
) -> None:
    await is_plugged(link, "eve", "eve")
    cable.cut()
    try:
        await gives_the_link_back(link)
        assert link.eve.returncode is None
    finally:
        cable.mend()
    await is_plugged(link, "eve", "eve")
    await link.makes_keys(1)


async def test_eve_who_is_asked_to_end_gives_the_link_back_at_once(link: SplicedLink) -> None:
    """The last one of those who share the link."""
    await is_plugged(link, "eve", "eve")
    link.signal_eve(signal.SIGTERM)
    await gives_the_link_back(link)
    assert link.told(PatchChanged, "alice")[-1].reason == "the panel says so"
    assert await link.eve.wait() == 0
    assert link.told(NodeStopped, "eve")


async def test_killed_eve_gives_the_link_back(tmp_path: Path) -> None:
    async with spliced_link(tmp_path / "home") as alone:
        await alone.makes_keys(1)
        alone.signal_eve(signal.SIGKILL)
        await gives_the_link_back(alone)
