"""How a launched link is to be secured: its anchor, its scheme, and the files that the anchor needs at both ends."""

from dataclasses import dataclass
from typing import Any

from common.authentication.scheme import SchemeName
from common.errors import ConfigurationError
from common.trust.anchor import AnchorName


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

    def settings(self) -> dict[str, Any]:
        """Return the two sections of a node's configuration."""
        nobody = {"insecure_no_authentication": True} if self.anchor is AnchorName.NONE else {}
        return {
            "trust": {"anchor": str(self.anchor), **nobody},
            "authentication": {"scheme": str(self.scheme)},
        }


DEFAULT_SECURITY = Security()
