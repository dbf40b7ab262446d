"""What is in the image and what a container may do: no secret, no root, nothing of its neighbours."""

import re
import subprocess
import tarfile
from collections.abc import Iterator
from typing import IO

import pytest

from tests.containers.compose import DOCKER, NODES, ROOT, Project, docker

PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{60,}")
SECRET_NAMES = re.compile(r"\.(key|pem|p12|db|jsonl)$|(^|/)(node\.toml|broker-password|installation\.json)$")
PUBLIC_NAMES = re.compile(
    r"(^|/)etc/(ssl|ca-certificates)/|/share/ca-certificates/|(^|/)(cacert|ca-bundle)\.pem$"
)
pytestmark = pytest.mark.timeout(300)


def layers(image: str) -> Iterator[tarfile.TarFile]:
    """Open every layer of an image, as the engine would ship it."""
    with subprocess.Popen([DOCKER, "save", image], stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        with tarfile.open(fileobj=saving.stdout, mode="r|") as archive:
            for member in archive:
                if member.isfile() and not member.name.endswith(".json"):
                    file = archive.extractfile(member)
                    assert file is not None
                    yield from opened(file)


def names_a_secret(path: str) -> bool:
    return bool(SECRET_NAMES.search(path)) and not PUBLIC_NAMES.search(path)


def holds_a_secret(file: IO[bytes] | None) -> bool:
    return file is not None and bool(PRIVATE_KEY.search(file.read()))


def opened(file: IO[bytes]) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=file, mode="r|*") as layer:
            yield layer
    except tarfile.ReadError:
        return  # a label of the format, not a layer


def test_no_layer_of_the_image_holds_a_secret(waiting_bob: Project):
    found, files = [], 0
    for layer in layers(waiting_bob.image):
        for member in filter(tarfile.TarInfo.isfile, layer):
            files += 1
            if names_a_secret(member.name) or holds_a_secret(layer.extractfile(member)):
                found.append(member.name)
    assert files > 5000
    assert found == []


def test_the_history_of_the_image_holds_no_secret_and_no_address_of_a_registry(waiting_bob: Project):
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", waiting_bob.image)
    assert "PRIVATE KEY" not in history
    assert not re.search(r"index-url|find-links|https?://", history)


def test_the_build_asks_for_nothing_but_its_base_image_pip_and_gnupg():
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    composed = (ROOT / "docker-compose.yml").read_text()
    bases = {line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM")}
    assert bases == {"python:3.13-slim", "node"}
    assert "syntax=" not in dockerfile
    assert re.findall(r"apt-get install (.*?) \\\\?\n", dockerfile) == [
        "-y -qq --no-install-recommends gpg gpg-agent"
    ]
    assert not re.search(r"\b(apt|apk|curl|wget)\b(?!-get|/lists)", dockerfile)
    assert "pull_policy" not in composed


@pytest.mark.parametrize("service", ["credentials", "broker", *NODES])
def test_no_container_runs_as_root_or_may_write_outside_its_folders(link: Project, service: str):
    described = link.inspect(service)
    assert described["Config"]["User"] == "10001:10001"
    assert described["HostConfig"]["ReadonlyRootfs"]
    assert described["HostConfig"]["CapDrop"] == ["ALL"]
    assert not described["HostConfig"]["Privileged"]


@pytest.mark.parametrize("service", ["broker", *NODES])
def test_the_process_itself_has_no_privilege_left(link: Project, service: str):
    status = link.compose("exec", "--no-TTY", service, "cat", "/proc/1/status")
    said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(said["Uid"].split()) == {"10001"}
    assert {int(said[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert said["NoNewPrivs"] == "1"


def test_each_container_sees_its_own_folder_and_nothing_else(link: Project):
    own = {"alice": ("site-a", "/site"), "bob": ("site-b", "/site"), "broker": ("broker", "/broker")}
    for service, (volume, target) in own.items():
        mounts = link.inspect(service)["Mounts"]
        assert [(mount["Name"], mount["Destination"]) for mount in mounts] == [
            (f"{link.name}_{volume}", target)
        ]
    assert not link.inspect("broker")["Mounts"][0]["RW"]


def test_the_line_refuses_every_stranger_on_the_openssl_of_the_image(waiting_bob: Project):
    image = f"{waiting_bob.name}-tests"
    docker("build", "--quiet", "--file", "deploy/Dockerfile", "--target", "tests", "--tag", image, ".")
    try:
        isolated = "run --rm --network none --read-only --tmpfs /tmp --tmpfs /run/kernels:uid=10001"
        pytest_there = "python -m pytest -q -p no:cacheprovider"
        files = "tests/integration/test_tls.py tests/integration/test_tls_psk.py"
        docker(*isolated.split(), image, *pytest_there.split(), *files.split())
    finally:
        docker("image", "rm", image, check=False)
