"""Settings of all tests: no deadline for an example on a busy machine; kernels are compiled before the first test."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from qkdlink.deployment.launching.compilation import ensure_compiled
from tests.support.forked_nodes import forked_nodes

settings.register_profile("qkdlink", deadline=None)
settings.load_profile("qkdlink")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Say that the first run compiles, before workers would all do it at the same time."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not hasattr(session.config, "workerinput"):
        ensure_compiled(None if reporter is None else reporter.write_line)


@pytest.fixture(scope="module")
def nodes_are_forked() -> Iterator[None]:
    """Let launchers in this process fork their nodes."""
    with forked_nodes():
        yield


@pytest.fixture(autouse=True)
def _signals_as_a_shell_leaves_them() -> Iterator[None]:
    """Put signals back: a command that ends ignores them, and so would every process that later tests start."""
    asked = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    for number, handler in asked.items():
        signal.signal(number, handler)
    yield
    for number, handler in asked.items():
        signal.signal(number, handler)
