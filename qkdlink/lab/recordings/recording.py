"""A recording: a link that Eve reads on every wire, user traffic, and beside them what time may give her.

What she records lies in `wires` and `traffic`; what time may give her, in `later`.
"""

import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import ConfigurationError, LinkError
from qkdlink.common.keys.allotment import Purpose
from qkdlink.common.keys.identifiers import BlockId, Name
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.text_files import read_text
from qkdlink.common.trust.private_files import FOLDER_MODE, NewFile, private_folder, write_new
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.launching.link_result import run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.deployment.launching.running_link import RunningLink
from qkdlink.eve.listening.key_log import KeyLog
from qkdlink.eve.recorder import Passed, Wire, read_recording
from qkdlink.lab.faults.kill_trials import tiny_parameters, tiny_settings
from qkdlink.lab.traffic.key_exchanges import KEY_BYTES, DeliveredKey, KeySource, Primitive
from qkdlink.lab.traffic.user_traffic import record_traffic

_WIRES, _TRAFFIC, _LATER, _LINK = "wires", "traffic", "later", "link.json"
_KEPT = "kept.json"
_BLOCKS = 3
_TEXTS = (b"the convoy leaves at dawn", b"by the northern road", b"burn after reading")


class RecordedLink(BaseModel):
    """What everybody knows of a recorded link."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    link: Name
    parameters: LinkParameters
    keys_used: dict[KeySource, str]
    """Which block's key each kind of user traffic was under, as it was said on the wire."""


class Kept(BaseModel):
    """What the applications have kept to themselves, in hexadecimal: only what a hand breaks is taken from here."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    secrets: dict[KeySource, dict[Primitive, str]] = Field(max_length=len(KeySource))


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, as it lies in a folder."""

    folder: Path
    link: RecordedLink
    key_log: KeyLog
    kept: Kept = field(repr=False)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read what was kept with a recording; ConfigurationError if it is none of ours."""
        link, kept = _read(RecordedLink, folder / _LINK), _read(Kept, folder / _LATER / _KEPT)
        return cls(folder, link, KeyLog.of(folder / _LATER / f"{name}.log" for name in (ALICE, BOB)), kept)

    def words(self) -> Iterable[Passed]:
        """Read what has passed on the classical line, in the order of time."""
        return _words(self.folder / _WIRES)

    def words_of(self, source: KeySource) -> Iterable[Passed]:
        """Read what has passed of user traffic under a key of some source."""
        return _words(self.folder / _TRAFFIC / source)

    def light_bytes(self) -> int:
        """Count what has passed of light, under its seal."""
        wires = read_recording(self.folder / _WIRES)
        return sum(len(passed.data) for passed in wires if passed.wire is Wire.LIGHT)


async def make_recording(
    folder: Path, parameters: LinkParameters | None = None, blocks: int = _BLOCKS
) -> dict[str, Any]:
    """Run a link with Eve, transparent, on every wire, and user traffic under a key of each source.

    Every block begins an epoch, so that there are a bootstrap and lines under link PSKs. No key that was stored is
    kept, but those that user traffic was under. Returns what came of it; ConfigurationError if the folder is not new
    or empty.
    """
    _check_new(folder)
    chosen = parameters or tiny_parameters()
    with private_folder(folder), tempfile.TemporaryDirectory(prefix="qkdlink-") as house:
        _make_private(folder)
        home = open_home(Path(house) / "home")
        result = await run_to_the_end(
            home,
            LinkRun(
                chosen,
                blocks=blocks,
                alice=tiny_settings(),
                security=Security(scheme=SchemeName.HMAC_SHA256),
                eve={"record": str((folder / _WIRES).resolve())},
            ),
        )
        delivered = _deliver(home, result.link)
        recorded = [
            await record_traffic(
                folder / _TRAFFIC / source, source, _TEXTS, *delivered.get(source, (None, None))
            )
            for source in KeySource
        ]
        names = {source: alices.name for source, (alices, _) in delivered.items()}
        kept = Kept(
            secrets={each.source: {name: key.hex() for name, key in each.kept.items()} for each in recorded}
        )
        link = RecordedLink(link=home.link, parameters=chosen, keys_used=names)
        with private_folder(folder / _LATER):
            write_new(
                NewFile(folder / _LINK, link.model_dump_json(exclude_none=True).encode()),
                NewFile(folder / _LATER / _KEPT, kept.model_dump_json().encode()),
                *(
                    NewFile(folder / _LATER / f"{name}.log", home.key_log(name).read_bytes())
                    for name in (ALICE, BOB)
                ),
            )
        return {
            "keys_equal": result.keys_equal,
            "secret_bits": result.secret_bits,
            "came_back": all(each.came_back for each in recorded),
            "known_fraction_of_sifted": result.known_fraction_of_sifted,
            "key_recovered": result.key_recovered,
        }


def _check_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder} is neither new nor empty: name another folder for a recording.")


def _make_private(folder: Path) -> None:
    """Take from everybody else a folder that was there, and empty: what time gives her will lie in it."""
    try:
        folder.chmod(FOLDER_MODE)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be made private: {error.strerror}; name a folder of your own."
        ) from error


def _deliver(home: LinkHome, link: RunningLink) -> dict[KeySource, tuple[DeliveredKey, DeliveredKey]]:
    """Have both key stores deliver one part of the first block, and another of the last, to their applications.

    The first block is one of the bootstrap, which certificates alone have protected on the wire.
    """
    with_key = sorted((block.number, block.block_id) for block in link.alice.told.ended if block.secret_bits)
    if not with_key:
        raise LinkError("the link has made no key for user traffic")
    return {
        KeySource.QKD: _part(home, with_key[0][1], Purpose.APPLICATIONS_AT_ALICE),
        KeySource.QKD_AND_ML_KEM: _part(home, with_key[-1][1], Purpose.APPLICATIONS_AT_BOB),
    }


def _part(home: LinkHome, block_id: str, purpose: Purpose) -> tuple[DeliveredKey, DeliveredKey]:
    link, session, number = block_id.split("/")
    found = []
    for node in (ALICE, BOB):
        with closing(KeyStore.of(home.node(node))) as store:
            material = store.deliver(BlockId(link, session, int(number)), purpose)
        if material is None or len(material) < KEY_BYTES:
            raise LinkError(f"{node} has no {KEY_BYTES} bytes of block {block_id} for its application")
        found.append(DeliveredKey(f"{block_id} {purpose}", material[:KEY_BYTES]))
    return found[0], found[1]


def _words(folder: Path) -> Iterable[Passed]:
    return (passed for passed in read_recording(folder) if passed.wire is Wire.WORDS)


def _read[M: BaseModel](kind: type[M], path: Path) -> M:
    try:
        return kind.model_validate_json(read_text(path))
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: name a folder that `qkdlink lab decrypt-later` has recorded into, or a new one."
        ) from error
