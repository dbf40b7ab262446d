"""Eve reads every word, live or years later: what that is worth to her, and what it is not."""

import asyncio
import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qkdlink.cli import app
from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.journal.events import NodeStarted
from qkdlink.deployment.homes.home import KEY_LOG_FILE, LinkHome, open_home
from qkdlink.deployment.homes.names import ALICE, BOB
from qkdlink.deployment.launching.link_result import Outcome, run_to_the_end
from qkdlink.deployment.launching.link_run import LinkRun
from qkdlink.eve.recorder import Wire, read_recording
from qkdlink.eve.topics import EVE
from qkdlink.lab.faults.kill_trials import tiny_parameters, tiny_settings
from qkdlink.lab.recordings import decrypt_later as later
from qkdlink.lab.recordings.decrypt_later import (
    Hand,
    blocks_read,
    combined_is_safe_while_either_holds,
    decrypt_later,
    rank_check,
)
from qkdlink.lab.recordings.recording import make_recording
from qkdlink.lab.traffic.key_exchanges import KeySource
from tests.support.processes import Journal

BLOCKS = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("later") / "recording"
    folder.mkdir(0o755)
    return folder, asyncio.run(make_recording(folder, blocks=BLOCKS))


@pytest.fixture(scope="module")
def recording(made: tuple[Path, dict[str, Any]]) -> Path:
    return made[0]


@pytest.fixture(scope="module")
def quantum(recording: Path) -> dict[str, Any]:
    """What a quantum computer opens."""
    return decrypt_later(recording, Hand.QUANTUM)


@pytest.fixture(scope="module")
def generous(recording: Path) -> dict[str, Any]:
    """What the secrets of every session open, as the command says it."""
    told = CliRunner().invoke(
        app, ["lab", "decrypt-later", "--recording", str(recording), "--hand", "generous", "--json"]
    )
    assert told.exit_code == 0, told.output
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def test_a_link_that_is_read_and_recorded_makes_keys_of_which_she_knows_nothing(
    made: tuple[Path, dict[str, Any]],
):
    _, told = made
    assert told["keys_equal"]
    assert told["came_back"]
    assert told["known_fraction_of_sifted"] == 0
    assert not told["key_recovered"]


def test_a_recording_has_every_wire_in_the_order_of_time_for_its_owner_alone(recording: Path):
    entries = list(read_recording(recording / "wires"))
    assert {each.wire for each in entries} == set(Wire)
    assert [each.time for each in entries] == sorted(each.time for each in entries)
    files = [path for path in recording.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    folders = [recording, *(path for path in recording.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


def test_the_keys_of_user_traffic_never_crossed_a_wire(recording: Path):
    kept = json.loads((recording / "later" / "kept.json").read_text())["secrets"]
    keys = [bytes.fromhex(key) for source in kept.values() for key in source.values()]
    passed = b"".join(path.read_bytes() for path in recording.rglob("*.rec"))
    assert len(keys) == 5
    assert not [key for key in keys if key in passed]


def test_a_quantum_computer_opens_the_bootstrap_and_ecdh_and_nothing_else(quantum: dict[str, Any]):
    found = quantum
    by_proof = {line["proof"]: line["opened_bytes"] / line["bytes"] for line in found["link"]}
    assert by_proof["certificate"] > 0.98, "all but the hellos"
    assert by_proof["pre-shared-key"] == 0
    assert {name for name, traffic in found["user_traffic"].items() if traffic["opened"]} == {"ecdh"}
    ecdh = found["user_traffic"]["ecdh"]
    assert "the convoy leaves at dawn" in ecdh["texts"]
    assert ecdh["opened_bytes"] == ecdh["bytes"] > 0
    qkd = found["user_traffic"]["qkd"]
    assert qkd["key_undetermined"], "she has read every word that was said about its block"
    assert qkd["held_by"] == ["qkd"]
    assert found["user_traffic"]["ml-kem"]["held_by"] == ["ml-kem"]
    assert found["light"]["bytes"] > 0


def test_the_secrets_of_every_session_open_every_word_and_no_key(generous: dict[str, Any]):
    found = generous
    assert all(line["opened_bytes"] > 0.98 * line["bytes"] for line in found["link"])
    assert len(found["blocks"]) == BLOCKS
    assert all(each["undetermined_bits"] == each["secret_bits"] > 0 for each in found["blocks"])
    assert all(each["undetermined"] for each in found["blocks"])
    assert {name for name, traffic in found["user_traffic"].items() if traffic["opened"]} == {"ecdh"}


def test_with_amplification_shortened_by_hand_the_check_fails(recording: Path):
    account = blocks_read(recording, Hand.QUANTUM)[0]
    amplified = account.overheard.amplified
    assert amplified is not None
    overheard, parameters = account.overheard, tiny_parameters()
    enough = amplified.secret_bits + overheard.disclosed_parities + 200
    known_bits = overheard.sifted_bits - enough  # so much more could she know
    assert rank_check(account, parameters, known_bits=known_bits).holds
    too_little = (
        overheard.disclosed_parities + 200
    )  # removed: as many secret bits as bits that are unknown to her
    assert not rank_check(account, parameters, known_bits=known_bits, lengthened_by=too_little).holds


def test_qkd_and_ml_kem_together_are_safe_while_either_holds(recording: Path):
    opened = combined_is_safe_while_either_holds(recording)
    assert opened == {"none": False, "ml-kem": False, "qkd": False, "both": True}


def test_the_command_says_it_as_json_and_as_a_table(
    recording: Path,
    generous: dict[str, Any],
    quantum: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
):
    assert set(generous["user_traffic"]) == set(KeySource)
    found = {Hand.QUANTUM: quantum}  # computed already; it is the default
    monkeypatch.setattr(later, "decrypt_later", lambda _, hand: found[hand])
    shown = CliRunner().invoke(app, ["lab", "decrypt-later", "--recording", str(recording)])
    assert "held by qkd" in shown.stdout


def test_what_is_no_recording_is_refused_and_left_as_it_is(tmp_path: Path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(ConfigurationError, match=r"link\.json cannot be read"):
        decrypt_later(tmp_path, Hand.QUANTUM)
    with pytest.raises(ConfigurationError, match="neither new nor empty"):
        asyncio.run(make_recording(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


async def test_eve_who_knows_every_bit_has_the_key_with_the_monitors_off(tmp_path: Path):
    blind = tiny_parameters().model_copy(update={"monitors_off": tuple(sorted(Monitor))})
    result = await run_to_the_end(
        open_home(tmp_path / "home"),
        LinkRun(
            blind,
            blocks=2,
            alice=tiny_settings(),
            eve={
                "attacks": ["photon-number-splitting", "intercept-resend:bases=key"],
                "treatments": ["delay:seconds=0.001", "replay:every=100000"],
            },
        ),
    )
    told = result.as_json()
    assert told["keys_equal"]
    assert result.outcome is Outcome.EVE_KNOWS
    splitting, resending, delaying, replaying = told["eve"].pop("acted")
    assert splitting["obstacle"].startswith("photon-number-splitting has nothing to split")
    assert splitting["acted"] == resending["acted"] > 0
    assert (resending["attack"][:26], resending["channel"]) == ("intercept-resend:fraction=", "quantum")
    assert (delaying["attack"], delaying["channel"]) == ("delay:seconds=0.001", "classical")
    assert delaying["acted"] > 0
    assert (replaying["attack"], replaying["acted"]) == ("replay:every=100000", 0)
    assert told["eve"] == {
        "attacks": ["photon-number-splitting", "intercept-resend:bases=key"],
        "treatments": ["delay:seconds=0.001", "replay:every=100000"],
        "known_fraction_of_sifted": 1.0,
        "key_recovered": True,
        "impersonation": None,
        "key_undetermined": False,
        "ended": None,
    }
    eve, alice = result.link.eve, result.link.alice
    assert eve is not None
    assert eve.fingerprint == alice.fingerprint
    made = {block.block_id: block for block in alice.told.ended}
    assert {each.block_id for each in result.link.state.eve.learnt} == set(made)
    for each in result.link.state.eve.learnt:
        block = made[each.block_id]
        assert each.key_recovered
        assert each.secret_bits == block.secret_bits
        assert each.removed_bits == each.sifted_bits - block.secret_bits
        assert each.information_bits == each.sifted_bits
        assert each.min_entropy_bits == 0
        assert each.disclosed_bits >= block.leaked_bits
    [started] = Journal(LinkHome(tmp_path / "home").node(ALICE) / "journal.jsonl").of(NodeStarted)
    assert started.tls_key_log
    assert "INSECURE" in alice.notice
    assert alice.last_line == ""
    log = LinkHome(tmp_path / "home").node(ALICE) / KEY_LOG_FILE
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    secrets = [line.split()[-1] for line in log.read_text().splitlines() if not line.startswith("#")]
    journals = [LinkHome(tmp_path / "home").node(name) / "journal.jsonl" for name in (ALICE, BOB, EVE)]
    told_in_journals = "".join(path.read_text() for path in journals)
    assert secrets
    assert not [secret for secret in secrets if secret in told_in_journals]


async def test_eve_who_lets_all_light_pass_still_learns_of_afterpulses_from_what_bob_asks(tmp_path: Path):
    tiny = tiny_parameters()
    remembering = replace(tiny.detector, afterpulse_probability=0.03)
    parameters = tiny.model_copy(
        update={
            "detector": remembering,
            "expected_qber": 0.03,
            "tolerated_qber": 0.06,
            "monitors_off": tuple(sorted(Monitor)),
        }
    )
    result = await run_to_the_end(
        open_home(tmp_path / "home"),
        LinkRun(parameters, blocks=1, alice=tiny_settings(), eve={"attacks": []}),
    )
    assert result.link.eve is not None
    [learnt] = result.link.state.eve.learnt
    assert learnt.known_fraction_of_sifted == 0
    assert learnt.sifted_bits > learnt.min_entropy_bits + 100
    assert learnt.information_bits > 100
    assert not learnt.key_recovered
