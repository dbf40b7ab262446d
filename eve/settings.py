"""What Eve is told: where she sits on the light and on the words, and with which attacks she begins."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from qkdlink.common.keys.identifiers import Name
from qkdlink.common.node.settings import BrokerSettings, PlainAddress, ProgramSettings


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class SpliceSettings(_Section):
    """The two ends of the classical line that she sits in."""

    address: PlainAddress
    """Where Alice finds her in Bob's place."""
    bootstrap_address: PlainAddress
    """Where Alice finds her for bootstraps."""
    bob_address: PlainAddress
    """Where Bob listens with link PSKs."""
    bob_bootstrap_address: PlainAddress
    """Where he listens for bootstraps."""


class ImpersonationSettings(_Section):
    """The homes of the two programs that are the full man in the middle, each with its `node.toml`."""

    alice_home: Path
    """Of the one that faces Bob, in Alice's name."""
    bob_home: Path
    """Of the one that faces Alice, in Bob's name."""
    at_start: bool = True
    """Whether they live from the beginning; else she waits to be told."""


class EveSettings(ProgramSettings):
    """Configuration of `python -m qkdlink.eve`; paths are relative to the folder of the file."""

    alice: Name = "alice"
    bob: Name = "bob"
    alice_site: Name | None = None
    """The name of Alice's site, which stands in topics; without it, Alice's own."""
    bob_site: Name | None = None
    """The name of Bob's site; without it, Bob's own."""
    splice: SpliceSettings
    light_seal: Path = Path("light-seal.key")
    """The key of the emulated optics of this link."""
    journal: Path = Path("journal.jsonl")
    attacks: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    """Attacks on light to begin with, as `NAME:key=value,...` or `FILE.py:Class:...`; none is transparent."""
    console: BrokerSettings | None = None
    """Who the console is at the broker, where that is not Eve's own account under another name."""
    own_attacks: Annotated[tuple[str, ...], Field(max_length=32)] = ()
    """Attacks of one's own that she can be told to make by their `name`, each as `FILE.py:Class`."""
    treatments: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    """Attacks on words to begin with, as `NAME:key=value,...`; none passes them on."""
    intercept_light: bool = True
    """Whether she is plugged into the light at her start."""
    intercept_words: bool = True
    """Whether she is plugged into the classical line at her start."""
    key_logs: tuple[Path, ...] = ()
    """TLS key logs of the nodes, which a laboratory lends her so that she can read the conversation while it runs."""
    impersonate: ImpersonationSettings | None = None
    """With what she can take the place of each node towards the other; without it she cannot."""
    record: Path | None = None
    """A folder in which she records every wire."""

    @property
    def sites(self) -> tuple[str, str]:
        """The names in topics of Alice's site and Bob's."""
        return self.alice_site or self.alice, self.bob_site or self.bob
