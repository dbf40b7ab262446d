"""Eve's process: plugged into light and words, transparent unless told otherwise, gone without a trace."""

import asyncio
from contextlib import AsyncExitStack, closing
from pathlib import Path

from qkdlink.common.journal.events import LightFault, NodeStarted, NodeStopped
from qkdlink.common.journal.light_faults import LightFaults
from qkdlink.common.node.broker import broker_access, light_access
from qkdlink.common.node.journal import Journal, JournalFile
from qkdlink.common.node.launcher_pipe import LauncherPipe
from qkdlink.common.node.settings import read_seal_key
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.sentences import sentence
from qkdlink.common.store.home_lock import locked_home
from qkdlink.common.transport.light_line import connect_light
from qkdlink.common.transport.mqtt import connect
from qkdlink.common.wire.patch import Patch
from qkdlink.common.wire.pulse_frames import FrameFault
from qkdlink.common.wire.topics import Topics
from qkdlink.eve.classical_attacks.base import Chain
from qkdlink.eve.classical_attacks.catalogue import treatment_from
from qkdlink.eve.control import Control
from qkdlink.eve.half_links import HalfLinks
from qkdlink.eve.hands import Hands
from qkdlink.eve.mind import Mind
from qkdlink.eve.panel import KEEPALIVE_S, Panel, last_will
from qkdlink.eve.quantum_attacks.catalogue import ATTACKS, attack_from, own_attacks
from qkdlink.eve.relay import ClassicalRelay
from qkdlink.eve.senses import Senses
from qkdlink.eve.settings import EveSettings
from qkdlink.eve.tap import LightTap, ReceiptTap
from qkdlink.eve.topics import EVE, control_topic


async def run(settings: EveSettings, folder: Path, seed: int | None, report_file: int | None) -> None:
    """Live as Eve until told to go; ConfigurationError if another process works in this home."""
    with locked_home(folder):
        await _live(settings, folder, seed, report_file)


async def _live(settings: EveSettings, folder: Path, seed: int | None, report_file: int | None) -> None:
    topics = Topics(settings.link)
    seal = LightSeal(read_seal_key(folder / settings.light_seal), EVE)
    mind = Mind(settings.parameters, seed)
    attacks = [attack_from(text) for text in settings.attacks]
    own = own_attacks(settings.own_attacks) | {
        each.name: type(each) for each in attacks if each.name not in ATTACKS
    }
    treatments = [treatment_from(text) for text in settings.treatments]
    access = broker_access(settings, EVE, folder)
    async with AsyncExitStack() as open_things:
        bus = await open_things.enter_async_context(connect(access.lasting(KEEPALIVE_S, last_will(topics))))
        file = open_things.enter_context(
            closing(JournalFile(folder / settings.journal, to_stdout=settings.journal_to_stdout))
        )
        pipe = LauncherPipe(report_file)
        journal = Journal(EVE, file, pipe.event)
        bus.trouble.tell = journal.tell
        await open_things.enter_async_context(journal.published(bus, topics.journal(EVE)))
        line = await open_things.enter_async_context(
            connect_light(
                light_access(settings, EVE, folder),
                lambda what: journal.tell(LightFault(fault=FrameFault.OVERSIZED, detail=what, frames=1)),
                bus.trouble,
            )
        )
        alice, bob = settings.sites
        faults = LightFaults(journal.tell)
        light = LightTap(
            line, topics.light(EVE, bob), seal, await line.subscribe(topics.light(alice, EVE)), faults
        )
        light.whose = lambda: mind.latest
        receipts = ReceiptTap(
            line, topics.receipts(EVE, alice), await line.subscribe(topics.receipts(bob, EVE))
        )
        relay = ClassicalRelay()
        senses = Senses(settings, folder, mind, pipe, journal.tell)
        await senses.attend(open_things, bus, light, receipts, relay)
        splice = settings.splice
        for at, onward in (
            (splice.address, splice.bob_address),
            (splice.bootstrap_address, splice.bob_bootstrap_address),
        ):
            await open_things.enter_async_context(relay.listening(at, onward))
        half_links = None
        if settings.impersonate is not None:
            half_links = HalfLinks(
                settings.impersonate, settings, folder, relay, light, receipts, journal.tell
            )
            await open_things.enter_async_context(half_links.at_hand())
            if settings.impersonate.at_start:
                await half_links.begin()
        journal.tell(
            NodeStarted(
                role=EVE,
                link=settings.link,
                broker=str(bus.address),
                reproducible=settings.parameters.reproducible,
                unauthenticated=False,
            )
        )
        wanted = Patch(
            light="eve" if settings.intercept_light else "direct",
            classical="eve" if settings.intercept_words else "direct",
        )
        panel = Panel(bus, topics)
        words = Chain.on(relay)
        words.switch(treatments)
        hands = Hands(mind, light, words, panel, half_links, own, journal.tell)
        hands.take_up(attacks)
        commands = await bus.subscribe(control_topic(topics))
        reason = "ended"
        try:
            async with panel.plugged(hands.routed(wanted)), asyncio.TaskGroup() as group:
                hands.say()
                lives = {"light": light.run, "work": light.watch_the_work, "receipts": receipts.run}
                lives |= {"faults": light.tell_faults, **senses.lives}
                tasks = [group.create_task(live(), name=name) for name, live in lives.items()]
                await Control(hands, hands.own, journal.tell).run(commands)
                for task in tasks:
                    task.cancel()
        except* Exception as errors:
            reason = sentence(errors)
            raise
        finally:
            senses.finish()
            faults.tell_the_rest()
            hands.tally()
            journal.tell(NodeStopped(reason=reason))
