"""A site: what stands in one place. Its folder says in `site.toml` which links end there, and in which role.

site.toml        the site's name, its key manager, and its links
links/link-1/    one end of a link: node.toml, key store, journal, credentials; one process serves it
kme/             files of the site's key manager alone
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.identifiers import Name
from qkdlink.common.node.settings import CONFIGURATION_FILE
from qkdlink.common.protocol.roles import Role
from qkdlink.common.text_files import read_text
from qkdlink.common.trust.private_files import NewFile, private_folder, write_new
from qkdlink.common.value_faults import first_fault
from qkdlink.eve.topics import EVE

SITE_FILE = "site.toml"
LINKS_FOLDER, KEY_MANAGER_FOLDER = "links", "kme"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _inside(path: Path) -> Path:
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise ValueError("it must be a file in a folder of the site's own, such as links/link-1/node.toml")
    return path


class KeyManager(_Section):
    """Settings of the site's key manager: there are none yet."""


class LinkEnd(_Section):
    """One end of a link."""

    name: Name
    """The link's."""
    role: Literal["alice", "bob"]
    """Which of the two this site plays on this link."""
    configuration: Annotated[Path, AfterValidator(_inside)]
    """The `node.toml` of the process that serves this end, relative to the site's folder."""

    @property
    def party(self) -> Role:
        """The role as the protocol has it."""
        return Role[self.role.upper()]


def _not_eve(name: str) -> str:
    if name == EVE:
        raise ValueError("topics of that name are Eve's: call the site something else")
    return name


class Site(_Section):
    """What `site.toml` says."""

    name: Annotated[Name, AfterValidator(_not_eve)]
    """In topics."""
    key_manager: KeyManager = KeyManager()
    links: Annotated[tuple[LinkEnd, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what in ("name", "configuration"):
            values = [getattr(link, what) for link in self.links]
            if len(values) != len(set(values)):
                raise ValueError(f"two of its links have the same {what}")
        return self

    @classmethod
    def of_one_link(cls, name: str, link: str, role: Role) -> Self:
        """Return a site at which one link ends, with its files where `qkdlink` puts them."""
        place = Path(LINKS_FOLDER, link, CONFIGURATION_FILE)
        return cls(name=name, links=(LinkEnd(name=link, role=role.word, configuration=place),))

    def toml(self) -> str:
        """Return the text of its file."""
        ends = "".join(
            f"\n[[links]]\n{tomli_w.dumps(link.model_dump(mode='json', exclude_none=True))}"
            for link in self.links
        )
        key_manager = (
            f"[key_manager]\n# nothing can be set here yet; its own files are in {KEY_MANAGER_FOLDER}/\n"
        )
        return f"{tomli_w.dumps({'name': self.name})}\n{key_manager}{ends}"


def read_site(folder: Path) -> Site:
    """Read what a site's folder says; ConfigurationError, one sentence, if it does not."""
    file = folder / SITE_FILE
    try:
        return Site.model_validate(tomllib.loads(read_text(file)))
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be read ({error.strerror}): it names the site and its links; bring it back."
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"The site's file {file} is not TOML: {error}.") from error
    except ValidationError as error:
        raise ConfigurationError(f"The site's file {file} says {first_fault(error)}.") from error


def make_site(folder: Path, site: Site) -> None:
    """Make a site's folder, with its file and a place for its key manager; CredentialsError if that fails."""
    with private_folder(folder / KEY_MANAGER_FOLDER):
        write_new(NewFile(folder / SITE_FILE, site.toml().encode()))
