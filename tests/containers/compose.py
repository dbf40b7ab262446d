"""The compose file as a test drives it: a project of its own name, its journals, and nothing left behind."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = shutil.which("docker") or "docker"
NODES = ("alice", "bob")
FOLDERS = {"alice": "/site/links/link-1", "bob": "/site/links/link-1", "eve": "/node"}
"""Where a program's configuration, store and journal are in its container."""
SMALL_BLOCKS = "--protocol single-photon --block-pulses 250000 --rekey-blocks 3"


def docker(*arguments: str, stdin: str | None = None, check: bool = True, timeout_s: float = 300) -> str:
    """Run a docker command and return what it printed; a failure shows both of its streams."""
    done = subprocess.run(
        [DOCKER, *arguments],
        cwd=ROOT,
        env={**os.environ, "QKDLINK_INIT_OPTIONS": SMALL_BLOCKS},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    if check and done.returncode != 0:
        pytest.fail(
            f"docker {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done.stdout


@dataclass(frozen=True)
class Project:
    """One run of docker-compose.yml, under a name that nobody else uses."""

    name: str

    @property
    def image(self) -> str:
        return f"{self.name}-node"

    def compose(self, *arguments: str, check: bool = True) -> str:
        return docker("compose", "--project-name", self.name, *arguments, check=check)

    def inspect(self, service: str) -> dict[str, Any]:
        """Return the engine's description of a service's container."""
        return json.loads(docker("inspect", self.compose("ps", "--all", "--quiet", service).strip()))[0]

    def run(self, service: str, *command: str) -> str:
        """Run a command in a second container like the service's, with its folder."""
        return self.compose("run", "--rm", "--no-deps", "--no-TTY", service, *command)

    def stranger(
        self, script: Path, *arguments: str, network: str, volumes: tuple[str, ...] = ()
    ) -> dict[str, object]:
        """Run a Python script in a container that is none of the link's, and return the JSON that it prints."""
        mounts = [part for volume in volumes for part in ("--volume", f"{self.name}_{volume}")]
        options = ["--rm", "--interactive", "--network", f"{self.name}_{network}", *mounts]
        command = [self.image, "python", "-", *arguments]
        answer: dict[str, object] = json.loads(
            docker("run", *options, *command, stdin=script.read_text(), timeout_s=60)
        )
        return answer

    def journal(self, node: str) -> list[dict[str, Any]]:
        """Return all that a node has told; its container may be running or not, or not have run yet."""
        text = self.compose("cp", f"{node}:{FOLDERS[node]}/journal.jsonl", "-", check=False)
        begin, end = text.find("{"), text.rfind("}\n") + 1  # the one file of a tar archive
        return [json.loads(line) for line in text[begin:end].splitlines()]

    def events(self, node: str, kind: str) -> list[dict[str, Any]]:
        return [entry["event"] for entry in self.journal(node) if entry["event"]["type"] == kind]

    def keys(self, node: str) -> dict[str, int]:
        """Return the secret bits of every block that has ended with a key at this node."""
        blocks = self.events(node, "block-ended")
        return {block["block_id"]: block["secret_bits"] for block in blocks if block["secret_bits"]}

    def common_keys(self) -> dict[str, int]:
        """Return the blocks that have ended with a key at both nodes, which must agree on their lengths."""
        alice, bob = (self.keys(node) for node in NODES)
        common = alice.keys() & bob.keys()
        assert {block: alice[block] for block in common} == {block: bob[block] for block in common}
        return {block: alice[block] for block in common}

    def balance(self, node: str) -> dict[str, Any]:
        """Return the ledger of a node that does not run."""
        return json.loads(self.run(node, "qkdlink", "keys", "--home", "/site", "--json"))

    def wait(self, what: str, until: Callable[[], object], timeout_s: float = 90) -> None:
        """Wait until something is so; a failure shows what the containers said."""
        deadline = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > deadline:
                pytest.fail(
                    f"waited {timeout_s} s for {what}:\n{self.compose('ps', '--all')}{self.compose('logs')}"
                )
            time.sleep(0.3)

    @contextmanager
    def new_keys_after(self, what: str) -> Iterator[None]:
        """Do something to the link, then wait until both nodes hold keys of blocks that began after it."""
        yield
        seen = self.keys("alice").keys() | self.keys("bob").keys()
        self.wait(f"two new keys after {what}", lambda: len(self.common_keys().keys() - seen) >= 2)

    def down(self) -> None:
        """Remove containers, volumes, networks and the image of this project, and nothing else."""
        self.compose("down", "--volumes", "--timeout", "3", "--remove-orphans", check=False)
        docker("image", "rm", self.image, check=False)


@contextmanager
def project(purpose: str) -> Iterator[Project]:
    """Have a project while the context is open."""
    made = Project(f"qkdlink-test-{os.getpid()}-{purpose}")
    try:
        yield made
    finally:
        made.down()
