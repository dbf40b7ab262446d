"""Eve's two ways of paying attention: she records every wire, and she reads along where she was lent the secrets."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from qkdlink.common.journal.event import Event
from qkdlink.common.node.launcher_pipe import LauncherPipe
from qkdlink.common.transport.mqtt import Bus, Subscription
from qkdlink.common.wire.topics import Topics
from qkdlink.eve.listening.key_log import KeyLog
from qkdlink.eve.listening.listener import Listener, Overhearing
from qkdlink.eve.mind import Mind
from qkdlink.eve.recorder import Recorder
from qkdlink.eve.relay import ClassicalRelay
from qkdlink.eve.settings import EveSettings
from qkdlink.eve.tap import LightTap, ReceiptTap


class Senses:
    """What she was told to do of both; without either, nothing."""

    def __init__(
        self,
        settings: EveSettings,
        folder: Path,
        mind: Mind,
        pipe: LauncherPipe,
        tell: Callable[[Event], None],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._listener: Listener | None = None
        self.lives: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        """What has to run for as long as she lives, by name."""
        if settings.key_logs:
            key_log = KeyLog.of(folder / path for path in settings.key_logs)
            overhearing = Overhearing(
                settings.link,
                settings.parameters,
                key_log.secret,
                mind.known,
                mind.known_of_key,
                mind.opened,
                mind.ended,
            )
            self._listener = Listener(overhearing, tell, pipe)

    async def attend(
        self,
        open_things: AsyncExitStack,
        bus: Bus,
        light: LightTap,
        receipts: ReceiptTap,
        relay: ClassicalRelay,
    ) -> None:
        """Turn to every wire, before anything passes on it."""
        if self._listener is not None:
            relay.watch.append(self._listener.passed)
            relay.on_closed.append(self._listener.closed)
            self.lives["listening"] = self._listener.run
        if self._settings.record is not None:
            recorder = open_things.enter_context(closing(Recorder(self._folder / self._settings.record)))
            relay.watch.append(recorder.words)
            relay.on_closed.append(recorder.closed)
            light.watch.append(recorder.light)
            receipts.watch.append(recorder.receipt)
            topics = Topics(self._settings.link)
            for site in self._settings.sites:
                journal = await bus.subscribe(topics.journal(site))
                self.lives[f"journal of {site}"] = partial(_recorded, journal, recorder)

    def finish(self) -> None:
        """Read what has passed and was not read yet."""
        if self._listener is not None:
            self._listener.finish()


async def _recorded(journal: Subscription, recorder: Recorder) -> None:
    while True:
        recorder.journal(bytes((await journal.get()).payload))
