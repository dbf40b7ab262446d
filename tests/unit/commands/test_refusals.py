"""What a start refuses, in one sentence, before anything is made or printed."""

from pathlib import Path

import pytest

from qkdlink import cli
from qkdlink.commands.demo import Wish, prepared
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.store.home_lock import locked_home
from qkdlink.deployment.homes.home import LinkHome, open_home
from qkdlink.deployment.homes.link_options import LinkOptions, record, settled
from qkdlink.deployment.homes.sites import make_sites

PORTS = "init --home {home}/link --broker {broker} --bob {bob}"


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    return said.err


@pytest.mark.parametrize(
    ("broker", "bob", "named"),
    [
        ("127.0.0.1:7000", "127.0.0.1:7000", ("--broker 127.0.0.1:7000", "--bob 127.0.0.1:7000")),
        ("localhost:7001", "[::1]:7000", ("--broker localhost:7001", "--bob-bootstrap [::1]:7001")),
        ("B.example:8883 --bob-host b.example", "c.example:8883", ("--broker", "--bob c.example:8883")),
        ("b.example:8883", "c.example:7 --bob-bootstrap d.example:7", ("--bob c", "--bob-bootstrap d")),
        ("b.example:8883", "c.example:7000 --eve c.example:6999", ("--bob c", "--eve (bootstraps) c")),
        ("b.example:8883", "c.example:65535", ("--bob c.example:65535", "name --bob-bootstrap")),
        ("b.example:8883", "c.example:7 --eve e.example:65535", ("--eve e.example:65535", "a lower one")),
    ],
)
def test_two_programs_on_one_port_of_one_machine_are_refused(
    broker: str, bob: str, named: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _refused(PORTS.format(home=tmp_path, broker=broker, bob=bob).split(), capsys)
    assert all(name in said for name in named), said
    assert not list(tmp_path.iterdir())


MADE = LinkOptions(distance=20.0, preset="metropolitan", anchor="pki", authentication="gmac")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--distance 10", "with --distance 20, not 10"),
        ("--block-pulses 250000", "without --block-pulses, not with --block-pulses 250000"),
        ("--preset gys", "with --preset metropolitan, not gys"),
        ("--anchor psk", "with --anchor pki, not psk"),
        ("--authentication wegman-carter", "with --authentication gmac, not wegman-carter"),
        ("--rekey-blocks 2", "without --rekey-blocks, not with --rekey-blocks 2"),
        ("--without all", "without --without, not with --without all"),
        ("--insecure-no-authentication", "not with --insecure-no-authentication"),
    ],
)
@pytest.mark.parametrize("command", ["up", "demo"])
def test_an_option_that_differs_from_what_the_home_was_made_with_is_refused(
    command: str, options: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    record(home, MADE)
    assert sentence in _refused([command, "--home", str(home), *options.split()], capsys)


def test_without_options_a_home_runs_as_it_was_made_and_equal_ones_are_taken(tmp_path: Path) -> None:
    assert settled(tmp_path, LinkOptions()).preset == "metropolitan"
    record(tmp_path, MADE)
    assert settled(tmp_path, LinkOptions()) == MADE
    assert settled(tmp_path, LinkOptions(distance=20, preset="metropolitan")) == MADE
    record(tmp_path, LinkOptions(distance=1.0))
    assert settled(tmp_path, LinkOptions()).distance == 20.0


@pytest.mark.parametrize("text", ["", "[]", '{"distance": "far"}', '{"colour": 1}'])
def test_a_damaged_record_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "options.json").write_text(text)
    assert "does not say what this home was made with" in _refused(["up", "--home", str(tmp_path)], capsys)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("demo --stolen link-psk --home {new}", "no link PSK"),
        ("up --stolen tag-keys --home {new}", "no link PSK"),
        ("eve --stolen certificate --home {new}", "start it with `qkdlink up --home"),
        ("eve --home {new}", "start it with `qkdlink up --home"),
        ("eve --home {home}", "qkdlink init --eve HOST:PORT"),
        ("bootstrap --home {new}", "no key store in"),
        ("demo --home {new} --without nothing", "There is no monitor"),
        ("demo --home {new} --attack unknown", "No attack is called"),
        ("demo --home {new} --anchor web-of-trust", "gpg"),
        ("ca show afile", "qkdlink: afile does not exist"),
    ],
)
def test_a_refusal_comes_before_anything_is_made_or_printed(
    arguments: str,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("qkdlink.common.trust.openpgp.shutil.which", lambda _: None)
    home = open_home(tmp_path / "home").folder
    said = _refused(arguments.format(new=tmp_path / "new", home=home).split(), capsys)
    assert sentence in said
    assert not (tmp_path / "new").exists()


def test_a_links_home_names_its_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_sites(tmp_path)
    for name in ("alice", "bob"):
        node = LinkHome(tmp_path).node(name)
        node.mkdir(parents=True)
        (node / "store.db").touch()
    for again in ([], ["--again"]):
        said = _refused(["bootstrap", "--home", str(tmp_path), *again], capsys)
        assert f"name {LinkHome(tmp_path).node('alice')} or {LinkHome(tmp_path).node('bob')}" in said


def test_a_home_in_use_is_refused_before_it_is_touched(tmp_path: Path) -> None:
    with locked_home(open_home(tmp_path / "home").folder), pytest.raises(ConfigurationError, match="in use"):
        prepared(Wish(MADE, tmp_path / "home")).check()
    assert not (tmp_path / "home" / "options.json").exists()
