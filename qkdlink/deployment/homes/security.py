"""How a launched link is to be secured: its anchor, its scheme, and the files that the anchor needs at both ends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import TrustSettings
from qkdlink.common.trust.anchor import AnchorName
from qkdlink.common.trust.openpgp import find_program
from qkdlink.common.trust.preshared import create_preshared
from qkdlink.common.trust.private_files import NewFile, write_new
from qkdlink.deployment.homes.web_of_trust import furnish_web_of_trust

_PRE_SHARED_BITS = 256


@dataclass(frozen=True, slots=True)
class Security:
    """What is trusted at the bootstrap, and how data is authenticated from then on."""

    anchor: AnchorName = AnchorName.PKI
    scheme: SchemeName = SchemeName.WEGMAN_CARTER

    @classmethod
    def chosen(cls, anchor: str, scheme: str, *, insecure: bool) -> "Security":
        """Read a choice from the command line; ConfigurationError, with what there is, if it is none."""
        known_anchors, known_schemes = list(AnchorName), list(SchemeName)
        if anchor not in known_anchors:
            raise ConfigurationError(f"There is no anchor '{anchor}'; there are {', '.join(known_anchors)}.")
        if scheme not in known_schemes:
            raise ConfigurationError(
                f"There is no authentication '{scheme}'; there are {', '.join(known_schemes)}."
            )
        if anchor == AnchorName.NONE and not insecure:
            raise ConfigurationError(
                "The anchor none authenticates nobody: say so with --insecure-no-authentication, or choose another."
            )
        return cls(AnchorName(anchor), SchemeName(scheme))

    @property
    def trusts_anybody(self) -> bool:
        """Whether nobody has to show who they are at the bootstrap."""
        return self.anchor is AnchorName.NONE

    def check(self) -> None:
        """CredentialsError if this machine lacks a program that the anchor needs."""
        if self.anchor is AnchorName.WEB_OF_TRUST:
            find_program("gpg")

    def furnish(self, alice_home: Path, bob_home: Path, link: str) -> None:
        """Give both nodes what their anchor needs and is not made with every home; what is there stays."""
        names = TrustSettings()
        match self.anchor:
            case AnchorName.PSK:
                _furnish_preshared(alice_home / names.pre_shared_key, bob_home / names.pre_shared_key)
            case AnchorName.WEB_OF_TRUST:
                if not (alice_home / names.node_card).exists():
                    furnish_web_of_trust(alice_home, bob_home, link)
            case AnchorName.PKI | AnchorName.NONE:
                return

    def settings(self) -> dict[str, Any]:
        """Return the two sections of a node's configuration."""
        nobody = {"insecure_no_authentication": True} if self.trusts_anybody else {}
        return {
            "trust": {"anchor": str(self.anchor), **nobody},
            "authentication": {"scheme": str(self.scheme)},
        }


def _furnish_preshared(*places: Path) -> None:
    """Make a pre-shared key, and carry it wherever it is not: from any place that has it, if another has lost it."""
    held = next((place for place in places if place.exists()), None)
    if held is None:
        held = places[0]
        create_preshared(held, _PRE_SHARED_BITS)
    for place in places:
        if not place.exists():
            write_new(NewFile(place, held.read_bytes()))


DEFAULT_SECURITY = Security()
