"""The sites of a link's home: who has which role on a link, as they say themselves."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.protocol.roles import Role
from qkdlink.deployment.homes.configuration import SEAL_FILE
from qkdlink.deployment.homes.site import LINKS_FOLDER, SITE_FILE, Site, make_site, read_site

SITES_FOLDER = "sites"
DEFAULT_LINK = "link-1"
DEFAULT_SITES: Mapping[Role, str] = {Role.ALICE: "site-a", Role.BOB: "site-b"}
"""What the two sites of a new home are called."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link in a home."""

    site: str
    link: str
    role: Role
    configuration: Path

    @property
    def folder(self) -> Path:
        """The home of the node that serves this end."""
        return self.configuration.parent


def make_sites(home: Path) -> None:
    """Make the sites of a home, and the file of each default one that has none; what is there stays."""
    for folder in _folders(home):
        if not (folder / SITE_FILE).exists():
            make_site(folder, _site(folder))


def ends_in(home: Path) -> Iterator[End]:
    """Yield every end of every link in a home; ConfigurationError if a site's file is missing or wrong."""
    names: dict[str, Path] = {}
    for folder in _folders(home):
        for end in ends_at(folder):
            if names.setdefault(end.site, folder) != folder:
                raise ConfigurationError(
                    f"{names[end.site]} and {folder} are two sites called {end.site}: give each a name of its own."
                )
            yield end


def ends_at(folder: Path) -> Iterator[End]:
    """Yield the ends that a site's folder holds; ConfigurationError as there."""
    site = _site(folder)
    for link in site.links:
        yield End(site.name, link.name, link.party, folder / link.configuration)


def end_of(home: Path, link: str, role: Role) -> End:
    """Return the end that plays a role on a link; ConfigurationError unless exactly one site says that it does."""
    found = [end for end in ends_in(home) if (end.link, end.role) == (link, role)]
    if len(found) != 1:
        number = "No site" if not found else f"More than one site ({', '.join(end.site for end in found)})"
        raise ConfigurationError(
            f"{number} in {home / SITES_FOLDER} is {role.word} on {link}: correct [[links]] in a {SITE_FILE} there."
        )
    return found[0]


def home_above(folder: Path) -> Path | None:
    """Return the link's home in which a folder lies, if it lies in one."""
    return next((each for each in folder.absolute().parents if (each / SITES_FOLDER).is_dir()), None)


def refuse_earlier_layout(home: Path) -> None:
    """Raise ConfigurationError, with the command that moves its nodes, for a home that has no sites yet."""
    if (home / SITES_FOLDER).exists() or not all((home / each.word / SEAL_FILE).exists() for each in Role):
        return
    moves = " && ".join(
        f"mkdir -p {place.parent} && mv {role.word} {place}" for role, place in _default_places().items()
    )
    raise ConfigurationError(
        f"{home} was made by an earlier version, which had no sites: stop what runs there, move its nodes with"
        f" `(umask 077 && cd {shlex.quote(str(home))} && {moves})`, and do this again."
    )


def _default_places() -> dict[Role, Path]:
    return {
        role: Path(SITES_FOLDER, name, LINKS_FOLDER, DEFAULT_LINK) for role, name in DEFAULT_SITES.items()
    }


def _folders(home: Path) -> list[Path]:
    sites = home / SITES_FOLDER
    there = sorted(sites.iterdir()) if sites.is_dir() else []
    found = [each for each in there if (each / SITE_FILE).exists() or (each / LINKS_FOLDER).is_dir()]
    return found or [sites / name for name in DEFAULT_SITES.values()]


def _site(folder: Path) -> Site:
    """Return what a site's file says; a default site may be without one, as in a home that was moved here."""
    role = next((role for role, name in DEFAULT_SITES.items() if name == folder.name), None)
    if role is None or (folder / SITE_FILE).exists():
        return read_site(folder)
    return Site.of_one_link(folder.name, DEFAULT_LINK, role)
