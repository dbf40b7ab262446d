"""The outcome matrix over real sockets and TLS: Eve wins where she holds all that authenticates, and only there."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import ConfigurationError
from qkdlink.deployment.homes.home import open_home
from qkdlink.deployment.launching.link_result import Outcome, run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.deployment.stolen.leaks import Loot
from qkdlink.deployment.stolen.theft import steal
from qkdlink.lab.faults.kill_trials import tiny_parameters, tiny_settings
from qkdlink.lab.middle.man_in_the_middle import play
from qkdlink.lab.middle.matrix import ALL_CELLS, IMPOSTURE, MATRIX, Cell, Evidence, Stolen

NONE, WEGMAN_CARTER = SchemeName.NONE, SchemeName.WEGMAN_CARTER
PLAYED = (
    Cell(Stolen.NOTHING, WEGMAN_CARTER),
    Cell(Stolen.CERTIFICATES_BEFORE, WEGMAN_CARTER),
    Cell(Stolen.CERTIFICATES_AFTER, NONE),
    Cell(Stolen.LINK_PSK, NONE),
    Cell(Stolen.LINK_PSK, WEGMAN_CARTER),
    Cell(Stolen.TAG_KEYS, NONE),
    Cell(Stolen.BOTH, WEGMAN_CARTER),
    IMPOSTURE,
)
"""Every kind of theft, and the one that the scheme decides under both; `make evidence` plays all cells."""
WINS = {
    Cell(Stolen.NOTHING, NONE),
    Cell(Stolen.NOTHING, WEGMAN_CARTER),
    Cell(Stolen.CERTIFICATES_BEFORE, NONE),
    Cell(Stolen.CERTIFICATES_BEFORE, WEGMAN_CARTER),
    Cell(Stolen.LINK_PSK, NONE),
    Cell(Stolen.BOTH, NONE),
    Cell(Stolen.BOTH, WEGMAN_CARTER),
    Cell(Stolen.AUTHORITY_BEFORE, NONE),
    Cell(Stolen.AUTHORITY_BEFORE, WEGMAN_CARTER),
}
NO_SUCH_KEY = ("there is none, or another, of this name", "another key under this name")
SHUT_OUT = ("there is none, or another, of this name", "bob lets nobody in by the bootstrap any more")
FAILS_AT = {
    Cell(Stolen.CERTIFICATES_AFTER, NONE): (
        "there is none, or another, of this name",
        "bob lets nobody in by the bootstrap any more",
    ),
    Cell(Stolen.LINK_PSK, WEGMAN_CARTER): (
        "The tag of checkpoint 0 is wrong: Bob did not say or hear what arrived here.",
        "The tag of checkpoint 0 is wrong: Bob did not say or hear what arrived here.",
    ),
    Cell(Stolen.TAG_KEYS, NONE): (
        "there is none, or another, of this name",
        "another key under this name",
    ),
    IMPOSTURE: ("certificate", "certificate"),
}
"""What the victims' ends say: Alice's, then Bob's."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Cell, Evidence]:
    folder: Path = tmp_path_factory.mktemp("matrix")
    return asyncio.run(play(PLAYED, folder))


def test_the_matrix_says_that_she_wins_with_everything_that_authenticates_and_only_then() -> None:
    assert {cell for cell in ALL_CELLS if cell.expected_to_win} == WINS
    assert len(MATRIX) == 12


@pytest.mark.parametrize("cell", PLAYED, ids=str)
def test_eve_wins_if_and_only_if_she_holds_everything_that_authenticates(
    cell: Cell, played: Mapping[Cell, Evidence]
) -> None:
    evidence = played[cell]
    assert evidence.she_won == (cell in WINS), evidence.sentence
    assert evidence.common_keys == 0, "with her in between they have none without her, and none besides hers"


@pytest.mark.parametrize("cell", [cell for cell in PLAYED if cell in WINS], ids=str)
def test_where_she_wins_each_believes_in_a_key_that_is_hers_and_their_traffic_arrives(
    cell: Cell, played: Mapping[Cell, Evidence]
) -> None:
    evidence = played[cell]
    prints = evidence.fingerprints
    assert prints.alice == prints.eve_with_alice is not None
    assert prints.bob == prints.eve_with_bob is not None
    assert prints.alice != prints.bob
    assert evidence.traffic_read
    assert evidence.traffic_arrived
    assert not evidence.failures


@pytest.mark.parametrize("cell", FAILS_AT, ids=str)
def test_where_she_fails_nobody_has_made_a_key_with_her_and_it_is_said_at_which_step(
    cell: Cell, played: Mapping[Cell, Evidence]
) -> None:
    evidence = played[cell]
    assert (evidence.keys_of_alice, evidence.keys_of_bob) == (0, 0)
    assert not evidence.traffic_read
    for said, expected in zip(evidence.failures.values(), FAILS_AT[cell], strict=True):
        assert expected in said


def test_what_applications_say_under_an_older_key_passes_her_unread(
    played: Mapping[Cell, Evidence],
) -> None:
    evidence = played[Cell(Stolen.TAG_KEYS, NONE)]
    assert evidence.traffic_arrived
    assert not evidence.traffic_read


async def test_a_demo_with_stolen_certificates_shows_whose_keys_they_are(tmp_path: Path) -> None:
    result = await run_to_the_end(
        open_home(tmp_path / "home"),
        LinkRun(tiny_parameters(), blocks=1, alice=tiny_settings(), eve={}, stolen=Loot(certificates=True)),
    )
    taken = result.impersonation
    assert taken is not None
    assert taken.keys_of_alice == taken.known_of_alice == 1
    assert taken.known_of_bob == taken.keys_of_bob
    assert taken.keys_in_common == 0
    assert result.outcome is Outcome.EVE_KNOWS


def test_a_thief_needs_a_link_with_eve_and_something_to_steal(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    with pytest.raises(ConfigurationError, match="Eve has no place"):
        steal(home, Loot(certificates=True))
    home.let_eve_in()
    home.configuration("eve").write_text("")
    with pytest.raises(ConfigurationError, match="before the link has made its first key"):
        steal(home, Loot(tag_keys=True))
