"""The nodes that a folder holds which a user names: a link's home, a site's folder, or the folder of one node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import CONFIGURATION_FILE
from qkdlink.common.protocol.roles import Role
from qkdlink.deployment.homes.site import SITE_FILE
from qkdlink.deployment.homes.sites import SITES_FOLDER, ends_at, ends_in, refuse_earlier_layout


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """The folder of one node."""

    configuration: Path
    role: Role | None = None
    """What its site says; None for a folder that was named itself."""

    @property
    def folder(self) -> Path:
        """Where its store and its journal are."""
        return self.configuration.parent


def node_folders(folder: Path) -> list[NodeFolder]:
    """Return the nodes of a link's home or a site, or the one whose folder this is; it may hold nothing yet.

    ConfigurationError for a home of an earlier version, and if a site's file is missing or wrong.
    """
    refuse_earlier_layout(folder)
    if (folder / SITES_FOLDER).is_dir():
        ends = ends_in(folder)
    elif (folder / SITE_FILE).exists():
        ends = ends_at(folder)
    else:
        return [NodeFolder(folder / CONFIGURATION_FILE)]
    return [NodeFolder(end.configuration, end.role) for end in ends]


def one_node(folder: Path, has_all: Callable[[NodeFolder], bool], lacking: str) -> NodeFolder:
    """Return the one node of a folder that has what is needed; ConfigurationError if there is none, or a choice."""
    found = [node for node in node_folders(folder) if has_all(node)]
    if not found:
        raise ConfigurationError(f"There is no {lacking} in {folder}: {NAME_ANOTHER}.")
    if len(found) > 1:
        raise ConfigurationError(f"{folder} holds more than one node: name {_either(found)}.")
    return found[0]


NAME_ANOTHER = "name the home of a link that has run, the folder of a site, or the folder of one node"


def _either(found: Sequence[NodeFolder]) -> str:
    return " or ".join(str(node.folder) for node in found)
