"""`qkdlink keys`: what a store has made, what the link costs, and how long it lasts; never key material."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qkdlink.commands.keys import bootstrap, show
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import OF_ALICE, RESERVE_TARGET_BITS
from qkdlink.common.node.settings import CONFIGURATION_FILE
from qkdlink.common.protocol.economy import Backoff
from qkdlink.common.transport.addresses import Address
from qkdlink.deployment.homes.configuration import LinkAddresses, node_configuration
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.sites import DEFAULT_SITES, make_sites
from qkdlink.lab.faults.kill_trials import tiny_parameters
from tests.support.stores import ALICE_OWNER, block, deposit, in_memory, open_store, secret

BITS, RESERVE_BITS = 20_000, 4_096


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A link's home: Alice has used a link PSK and three units, Bob nothing."""
    make_sites(tmp_path)
    for name in ("alice", "bob"):
        with closing(open_store(LinkHome(tmp_path).node(name), replace(ALICE_OWNER, node=name))) as store:
            for number in (1, 2):
                deposit(store, number, BITS, reserve_bits=RESERVE_BITS)
            if name == "alice":
                store.begin_epoch(block(2))
                for _ in range(3):
                    store.units.take(OF_ALICE, "3")
    return tmp_path


def told(home: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    show(home, as_json=True)
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_account_of_a_node_has_what_it_made_what_the_link_cost_and_how_long_it_lasts(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (alice,) = told(LinkHome(home).node("alice"), capsys)
    payable = (2 * (512 + RESERVE_BITS // 2) // 256 - 3) // 2
    assert alice == {
        "node": "alice",
        "produced_bits": 2 * BITS,
        "leaked_bits": 200,
        "spent": {"link-psk": 256, "link-psk (burnt)": 256, "tags-alice-to-bob": 768},
        "available_bits": 2 * BITS - 2 * 256 - 768,
        "authentication_bits": 768,
        "psk_bits": 512,
        "net_gain_per_block": (2 * BITS - 768 - 512) / 2,
        "confirmed_blocks": 2,
        "pending_blocks": 0,
        "epoch": 2,
        "latched": True,
        "unauthenticated": False,
        "upkeep_bits": 1_280,
        "blocks_payable": payable,
        "reserve_lacks_bits": RESERVE_TARGET_BITS - 2 * RESERVE_BITS,
        "seconds_to_starvation": Backoff(1.0, 600.0).seconds_to_starvation(1, payable),
    }


def test_every_node_of_a_links_home_counts_with_the_pauses_that_alice_makes(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = Address("127.0.0.1", 7000)
    own = {"reserve_lasts_s": 100.0, "backoff_longest_s": 30.0}
    text = node_configuration(
        "link-1", ("alice", "bob"), DEFAULT_SITES, LinkAddresses(at, at, at), {}, tiny_parameters(), own
    )
    (LinkHome(home).node("alice") / CONFIGURATION_FILE).write_text(text)
    alice, bob = told(home, capsys)
    pauses = Backoff(1.0, 30.0, 100.0)
    assert alice["seconds_to_starvation"] == pauses.seconds_to_starvation(1, alice["blocks_payable"])
    assert bob["seconds_to_starvation"] == pauses.seconds_to_starvation(0, bob["blocks_payable"])


def test_a_links_home_has_an_account_for_each_node(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [each["node"] for each in told(home, capsys)] == ["alice", "bob"]


def test_where_tags_cost_no_key_nothing_can_starve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_store(LinkHome(tmp_path).node("alice"))) as store:
        deposit(store, 1, tags=False)
    (alice,) = told(tmp_path, capsys)
    assert alice["upkeep_bits"] == 256
    assert alice["blocks_payable"] is alice["reserve_lacks_bits"] is alice["seconds_to_starvation"] is None
    show(tmp_path, as_json=False)
    assert "tags" not in capsys.readouterr().out


def test_a_store_without_a_block_has_gained_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_store(LinkHome(tmp_path).node("alice")).close()
    (alice,) = told(tmp_path, capsys)
    assert (alice["net_gain_per_block"], alice["blocks_payable"]) == (0.0, None)


def test_the_text_says_the_same_in_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(LinkHome(home).node("alice"), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "alice: epoch 2, bootstrap closed, 0 pending blocks"
    rows = [line.split() for line in lines[1:]]
    assert ["produced", "40000", "bits"] in rows
    assert ["in", "all", "for", "authentication", "768"] in rows
    assert ["in", "all", "for", "link", "PSKs", "512"] in rows
    assert ["net", "gain", "per", "block", "19360.0"] in rows
    assert ["smallest", "block", "that", "pays", "1280"] in rows
    assert ["tags", "are", "left", "for", "8", "blocks"] in rows
    assert not any(line != line.rstrip() for line in lines)


def test_keys_of_a_bootstrap_without_authentication_are_said_to_be_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_store(LinkHome(home).node("alice"))) as store:
        store.mark_unauthenticated()
    (alice,) = told(LinkHome(home).node("alice"), capsys)
    assert alice["unauthenticated"] is True
    show(home, as_json=False)
    out = capsys.readouterr().out
    assert out.count("the bootstrap was without authentication: no application gets these keys") == 1


def test_no_key_material_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (True, False):
        show(home, as_json=as_json)
    out = capsys.readouterr().out
    digits = secret(1, BITS).material.hex()
    assert not any(digits[at : at + 16] in out for at in range(len(digits) - 15))


def test_a_folder_without_a_store_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"There is no key store in .*: name the home of a link that has run"
    ):
        show(tmp_path, as_json=False)


def test_after_a_second_bootstrap_no_tag_can_be_paid_for(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap(LinkHome(home).node("alice"), again=True)
    assert "stop the other node too, do the same at its end" in capsys.readouterr().out
    (alice,) = told(LinkHome(home).node("alice"), capsys)
    assert (alice["blocks_payable"], alice["seconds_to_starvation"]) == (0, 0.0)
    assert alice["authentication_bits"] == 2 * (2 * 512 + RESERVE_BITS)


def test_the_bootstrap_of_a_running_node_is_not_opened(home: Path) -> None:
    with closing(open_store(LinkHome(home).node("alice"))) as running:
        with pytest.raises(ConfigurationError, match=r"alice is running.*: stop alice first"):
            bootstrap(LinkHome(home).node("alice"), again=True)
        assert running.epoch().latched
    bootstrap(LinkHome(home).node("alice"), again=True)
    with closing(open_store(LinkHome(home).node("alice"))) as store:
        assert not store.epoch().latched


def test_how_the_latch_stands_is_said_of_a_running_node_too(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(open_store(LinkHome(home).node("alice"))):
        bootstrap(LinkHome(home).node("alice"), again=False)
    assert capsys.readouterr().out == "The bootstrap is closed; the node is in epoch 2.\n"
