"""Broker and Bob on one machine, Alice on another behind a router that hides her: two files of settings, no more.

The machines are network namespaces, which takes root, `ip` (iproute2) and, for the router that hides and the port
that is filtered, `iptables`.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from qkdlink.commands.doctor import doctor
from qkdlink.common.journal.events import EpochBegan
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.transport.addresses import Address
from qkdlink.common.trust.pki import Validity, create_authority, issue
from qkdlink.deployment.brokers.broker import find_mosquitto
from qkdlink.deployment.certificates.hierarchy import create_authorities
from qkdlink.deployment.diagnosis import examination
from qkdlink.deployment.diagnosis.network import reach
from qkdlink.deployment.homes.configuration import LinkAddresses
from qkdlink.deployment.homes.home import LinkHome
from qkdlink.deployment.homes.installation import BROKER, NODES_AUTHORITY, Installation, install
from qkdlink.deployment.homes.names import ALICE, BOB
from tests.support.processes import Journal, guarded, small_parameters

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
IP, IPTABLES = shutil.which("ip", path=_PATH), shutil.which("iptables", path=_PATH)
HERS, ROUTER_HERE, ROUTER_THERE, HIS = "10.77.1.2", "10.77.1.1", "10.77.2.1", "10.77.2.2"
ALSO_HIS, NOWHERE = "10.77.2.3", "10.99.9.9"
PORTS = {"broker": 8883, "classical": 7000, "bootstrap": 7001}
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces take root"),
    pytest.mark.skipif(IP is None, reason="the command `ip` is missing: install iproute2"),
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed"),
]


@dataclass
class Machine:
    """A network namespace, and the programs that run in it."""

    name: str
    programs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *command: str) -> str:
        """Run a command to its end."""
        done = subprocess.run(
            [str(IP), "netns", "exec", self.name, *command], capture_output=True, text=True, check=True
        )
        return done.stdout

    def start(self, *command: str, folder: Path, log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start a program."""
        with log.open("wb") as file:
            program = guarded(
                [str(IP), "netns", "exec", self.name, *command],
                cwd=folder,
                stdout=file,
                stderr=file,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))} | environment,
            )
        self.programs.append(program)
        return program

    def within[T](self, act: Callable[[], T]) -> T:
        """Call a function on this machine: a thread of ours enters the namespace."""
        answers: list[T | BaseException] = []

        def enter() -> None:
            try:
                with open(f"/run/netns/{self.name}", "rb") as namespace:  # noqa: PTH123 - a descriptor is all
                    os.setns(namespace.fileno(), os.CLONE_NEWNET)
                answers.append(act())
            except BaseException as error:  # noqa: BLE001 - raised again by the caller
                answers.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(answers[0], BaseException):
            raise answers[0]
        return answers[0]

    def end(self) -> None:
        """End every program."""
        for program in self.programs:
            _end(program)


@dataclass
class World:
    """Two machines, a router between them, and an installation to be carried to them."""

    alice: Machine
    bob: Machine
    router: Machine
    home: Path
    hides: bool
    _bob: subprocess.Popen[bytes] | None = None
    _bob_folder: Path | None = None

    def start_broker(self) -> subprocess.Popen[bytes]:
        """Start Mosquitto with the configuration that the installation has for it."""
        folder = self.home / BROKER
        log = self.home / "broker.log"
        program = self.bob.start(str(find_mosquitto()), "-c", "mosquitto.conf", folder=folder, log=log)
        self.until_listening(PORTS["broker"], program, log)
        return program

    def bob_waits(self, folder: Path | None = None) -> None:
        """Let Bob listen: one with a fresh home in `folder`, or one who has never met anybody."""
        wanted = folder or self.home / "waiting" / BOB
        if self._bob is not None and self._bob.poll() is None:
            if wanted == self._bob_folder:
                return
            _end(self._bob)
        if not wanted.exists():
            shutil.copytree(LinkHome(self.home).node(BOB), wanted)
        self._bob, self._bob_folder = self.start_node(self.bob, BOB, wanted), wanted
        self.until_listening(PORTS["bootstrap"], self._bob, wanted / "node.log")

    def bob_leaves(self) -> None:
        """End that Bob, who does not outlive parameters other than his."""
        if self._bob is not None:
            _end(self._bob)

    def start_node(
        self, machine: Machine, role: str, folder: Path, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a node as the recipe says."""
        command = (sys.executable, "-P", "-m", f"qkdlink.{role}", "--config", str(folder / "node.toml"))
        return machine.start(*command, folder=folder, log=folder / "node.log", **environment)

    def until_listening(self, port: int, program: subprocess.Popen[bytes], log: Path) -> None:
        """Wait until a program on Bob's machine has opened a port."""
        deadline, listening = time.monotonic() + 20, f":{port:04X} 00000000:0000 0A"
        while listening not in self.bob.within(Path("/proc/thread-self/net/tcp").read_text):
            assert program.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"nobody listens on port {port}: {log.read_text()}"
            time.sleep(0.05)

    def alice_elsewhere(self, folder: Path) -> Path:
        """Carry a fresh home of Alice's to a folder."""
        shutil.copytree(LinkHome(self.home).node(ALICE), folder)
        return folder

    def ask(self, machine: Machine, folder: Path) -> dict[str, Any]:
        """Ask the doctor about a node on its machine."""
        with redirect_stdout(io.StringIO()) as told:
            status = machine.within(lambda: doctor(folder / "node.toml", None, None, as_json=True))
        answer: dict[str, Any] = json.loads(told.getvalue())
        assert status == (0 if answer["obstacle"] is None else 1)
        return answer


def _end(program: subprocess.Popen[bytes]) -> None:
    if program.poll() is None:
        program.terminate()
        try:
            program.wait(10)
        except subprocess.TimeoutExpired:
            program.communicate()  # the guard insists


@contextmanager
def _namespaces(*names: str) -> Iterator[list[Machine]]:
    """Make network namespaces, and remove them whatever happens; skip where that is not permitted."""
    machines: list[Machine] = []
    try:
        for name in names:
            made = subprocess.run(
                [str(IP), "netns", "add", name], capture_output=True, text=True, check=False
            )
            if made.returncode:
                pytest.skip(f"network namespaces are not permitted here: {made.stderr.strip()}")
            machines.append(Machine(name))
            machines[-1].run(str(IP), "link", "set", "lo", "up")
        yield machines
    finally:
        for machine in machines:
            machine.end()
            subprocess.run([str(IP), "netns", "del", machine.name], check=False)


def _cable(one: Machine, one_address: str, other: Machine, other_address: str) -> None:
    ends = (f"to-{other.name[-1]}", f"to-{one.name[-1]}")
    veth = f"link add {ends[0]} netns {one.name} type veth peer name {ends[1]} netns {other.name}"
    subprocess.run([str(IP), *veth.split()], check=True)
    for machine, end, address in ((one, ends[0], one_address), (other, ends[1], other_address)):
        machine.run(str(IP), "address", "add", f"{address}/24", "dev", end)
        machine.run(str(IP), "link", "set", end, "up")


def _route(alice: Machine, router: Machine, bob: Machine) -> bool:
    """Let the router forward, and hide Alice if it can; then Bob's machine knows no way to hers."""
    router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    alice.run(str(IP), "route", "add", "default", "via", ROUTER_HERE)
    if IPTABLES is not None:
        hide = f"netns exec {router.name} {IPTABLES} -t nat -A POSTROUTING -s {HERS}/32 -j MASQUERADE"
        if subprocess.run([str(IP), *hide.split()], capture_output=True, check=False).returncode == 0:
            return True
    bob.run(str(IP), "route", "add", f"{HERS}/32", "via", ROUTER_THERE)
    return False


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    prefix = f"qkd{os.getpid()}"
    with _namespaces(f"{prefix}-a", f"{prefix}-r", f"{prefix}-b") as (alice, router, bob):
        _cable(alice, HERS, router, ROUTER_HERE)
        _cable(router, ROUTER_THERE, bob, HIS)
        bob.run(str(IP), "address", "add", f"{ALSO_HIS}/24", "dev", f"to-{router.name[-1]}")
        hides = _route(alice, router, bob)
        home = tmp_path_factory.mktemp("installation") / "home"
        places = {name: Address(HIS, port) for name, port in PORTS.items()}
        install(
            home, {}, Installation(LinkAddresses(**places), alice={"rekey_blocks": 2}), small_parameters()
        )
        made = World(alice, bob, router, home, hides)
        made.start_broker()
        yield made


def _left_alone(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file of a home, by content and time of writing, but those that tell of visits."""
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("journal.jsonl", "node.log")
    }


def _keys(folder: Path) -> dict[str, int]:
    return Journal(folder / "journal.jsonl").keys


def test_two_machines_make_keys_that_agree_and_go_on_with_a_key_of_their_own(
    world: World, tmp_path: Path
) -> None:
    alice, bob = world.alice_elsewhere(tmp_path / ALICE), tmp_path / BOB
    world.bob_waits(bob)
    hers = world.start_node(world.alice, ALICE, alice, QKDLINK_BLOCKS="4")
    assert hers.wait(60) == 0, (alice / "node.log").read_text()

    assert len(_keys(alice)) == 4
    assert _keys(alice) == _keys(bob)
    epochs = Journal(alice / "journal.jsonl").of(EpochBegan)
    assert [epoch.authenticated_by for epoch in epochs][:2] == ["mutual-tls", "tls-psk"]
    stores = [KeyStore.of(folder) for folder in (alice, bob)]
    assert len({store.epoch() for store in stores}) == 1
    assert stores[0].balance().latched
    assert stores[0].balance().available_bits == stores[1].balance().available_bits
    for store in stores:
        store.close()

    before = [_left_alone(folder) for folder in (alice, bob)]
    for machine, folder, role in ((world.alice, alice, ALICE), (world.bob, bob, BOB)):
        program = f"import sys; sys.argv[1:] = ['doctor', '--config', '{folder}/node.toml']"
        said = machine.run(sys.executable, "-c", f"{program}\nfrom qkdlink.cli import main; main()")
        assert f" in the way of {role}" in said
        assert "In the way:" not in said
    assert "has proven the key" in world.ask(world.alice, alice)["checks"][-2]["sentence"]
    assert [_left_alone(folder) for folder in (alice, bob)] == before, "a diagnosis changes nothing"
    if world.hides:
        assert HERS not in (bob / "node.log").read_text()
        with pytest.raises(subprocess.CalledProcessError):
            world.bob.run(str(IP), "route", "get", HERS)


def _change(folder: Path, old: str, new: str) -> None:
    path = folder / "node.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _wrong_address(folder: Path) -> None:
    _change(folder, f'\naddress = "{HIS}:7000"', f'\naddress = "{NOWHERE}:7000"')


def _wrong_port(folder: Path) -> None:
    _change(folder, f"{HIS}:7000", f"{HIS}:7005")
    _change(folder, f"{HIS}:7001", f"{HIS}:7006")


def _wrong_peer(folder: Path) -> None:
    _change(folder, 'peer = "bob"', 'peer = "robert"')


def _replace_credentials(folder: Path, name: str, validity: Validity | None, authority: Path) -> None:
    for file in ("certificate.pem", "private-key.pem", "authority.pem", "revocations.pem"):
        (folder / file).unlink()
    issue(authority, name, folder, validity=validity)


def _days(begin: int, end: int) -> Validity:
    now = datetime.now(UTC)
    return Validity(now + timedelta(days=begin), now + timedelta(days=end))


def _wrong_authority(folder: Path) -> None:
    authority = folder.parent / "another-ca"
    create_authorities(authority)
    _replace_credentials(folder, ALICE, None, authority)


def _wrong_apparatus_authority(folder: Path) -> None:
    shutil.copy(folder / "authority.pem", folder / "apparatus")


def _wrong_apparatus_certificate(folder: Path) -> None:
    authority, own = folder.parent / "another-apparatus-ca", folder.parent / "another-apparatus"
    create_authority(authority)
    issue(authority, ALICE, own)
    for file in ("certificate.pem", "private-key.pem"):
        shutil.copy(own / file, folder / "apparatus")


def _no_tls(folder: Path) -> None:
    path = folder / "node.toml"
    path.write_text(
        "".join(line for line in path.read_text().splitlines(keepends=True) if "apparatus/" not in line)
    )


type Spoil = Callable[[Path, Path], None]
SPOILT: dict[str, tuple[str, str, str, Spoil]] = {
    "nothing": ("", "", "", lambda *_: None),
    "the broker's authority": (
        "certificate",
        "broker login",
        "another authority",
        lambda f, _: _wrong_apparatus_authority(f),
    ),
    "the certificate shown to the broker": (
        "certificate",
        "broker login",
        "refuses our certificate",
        lambda f, _: _wrong_apparatus_certificate(f),
    ),
    "the broker's name": (
        "name",
        "broker login",
        "--broker-host",
        lambda f, _: _change(f, f"{HIS}:8883", f"{ALSO_HIS}:8883"),
    ),
    "the broker's TLS": ("broker", "broker login", "it may expect TLS", lambda f, _: _no_tls(f)),
    "the address": ("route", "peer route", "no way to bob", lambda f, _: _wrong_address(f)),
    "the port": ("peer", "peer route", "nobody listens", lambda f, _: _wrong_port(f)),
    "the peer's name": ("name", "peer identity", "for another name", lambda f, _: _wrong_peer(f)),
    "the authority": (
        "certificate",
        "peer identity",
        "comes from another authority",
        lambda f, _: _wrong_authority(f),
    ),
    "the certificate's name": (
        "name",
        "credentials",
        "is for carol",
        lambda f, ca: _replace_credentials(f, "carol", None, ca),
    ),
    "the certificate's age": (
        "certificate",
        "credentials",
        "expired",
        lambda f, ca: _replace_credentials(f, ALICE, _days(-2, -1), ca),
    ),
    "the clock": (
        "clock",
        "clock",
        "set the clock",
        lambda f, ca: _replace_credentials(f, ALICE, _days(1, 2), ca),
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_the_doctor_finds_what_was_spoilt(world: World, tmp_path: Path, what: str) -> None:
    world.bob_waits()
    obstacle, check, words, spoil = SPOILT[what]
    alice = world.alice_elsewhere(tmp_path / ALICE)
    spoil(alice, world.home / NODES_AUTHORITY)
    told = world.ask(world.alice, alice)
    assert (told["obstacle"] or "") == obstacle, told
    assert words in (told["sentence"] or "")
    failed = [each["check"] for each in told["checks"] if each["outcome"] == "failed"]
    assert failed == ([check] if check else [])
    assert not (alice / "store.db").exists(), "a diagnosis makes no store"
    assert not (alice / "journal.jsonl").exists()


def test_parameters_that_differ_are_named_with_both_values(world: World, tmp_path: Path) -> None:
    world.bob_waits()
    alice = world.alice_elsewhere(tmp_path / ALICE)
    _change(alice, "length_km = 10.0", "length_km = 11.0")
    told = world.ask(world.alice, alice)
    world.bob_leaves()
    assert told["obstacle"] == "parameters"
    assert "fibre.length_km is 10.0 here and 11.0 there" in told["sentence"]


@pytest.mark.parametrize("name", ["bootstrap", "broker"])
def test_a_filtered_port_is_a_firewall(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    if name == "bootstrap" and not world.hides:
        pytest.skip("without iptables the router cannot tell ports apart")
    world.bob_waits()
    alice = world.alice_elsewhere(tmp_path / ALICE)
    monkeypatch.setattr(examination, "reach", partial(reach, patience_s=1.5))
    with _filtered(world, PORTS[name]):
        told = world.ask(world.alice, alice)
    assert told["obstacle"] == "firewall", told
    assert str(PORTS[name]) in told["sentence"]
    told = world.ask(world.alice, alice)
    assert told["obstacle"] is None, told


@contextmanager
def _filtered(world: World, port: int) -> Iterator[None]:
    """Let the router drop what goes to a port of Bob's machine, or all of it where it cannot tell ports apart."""
    if IPTABLES is not None and world.hides:
        command, verbs = f"{IPTABLES} {{}} FORWARD -p tcp --dport {port} -j DROP", ("-A", "-D")
    else:
        command, verbs = f"{IP} route {{}} blackhole {HIS}/32", ("add", "del")
    world.router.run(*command.format(verbs[0]).split())
    try:
        yield
    finally:
        world.router.run(*command.format(verbs[1]).split())


def test_a_broker_that_is_down_or_does_not_know_the_node_is_named(world: World, tmp_path: Path) -> None:
    world.bob_waits()
    alice = world.alice_elsewhere(tmp_path / ALICE)
    broker = next(program for program in reversed(world.bob.programs) if "mosquitto" in str(program.args))
    _end(broker)
    told = world.ask(world.alice, alice)
    access = world.home / BROKER / "access-list"
    before = access.read_text()
    access.write_text(before.replace("site-a/journal", "somebody/journal"))
    broker = world.start_broker()
    unknown = world.ask(world.alice, alice)
    _end(broker)
    access.write_text(before)
    world.start_broker()
    assert (told["obstacle"], unknown["obstacle"]) == ("broker", "broker")
    assert "nobody listens" in told["sentence"]
    assert "access list" in unknown["sentence"]
    assert world.ask(world.alice, alice)["obstacle"] is None
