"""Settings of all tests: no deadline for an example on a busy machine; kernels are compiled before the first test."""

import pytest
from hypothesis import settings

from lab.compilation import ensure_compiled

settings.register_profile("qkdlink", deadline=None)
settings.load_profile("qkdlink")


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Say that the first run compiles, before workers would all do it at the same time."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not hasattr(session.config, "workerinput"):
        ensure_compiled(None if reporter is None else reporter.write_line)
