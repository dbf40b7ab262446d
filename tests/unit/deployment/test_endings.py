"""A process that ended without a message is explained by its exit status."""

import pytest

from qkdlink.deployment.launching.endings import told_end


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (-9, "alice was ended by SIGKILL: the machine may have run out of memory"),
        (-11, "alice was ended by SIGSEGV: a library crashed: start the command again"),
        (-1, "alice was ended by SIGHUP: it could not say why"),
        (-40, "alice was ended by signal 40: it could not say why"),
        (3, "alice ended with status 3"),
    ],
)
def test_the_end_names_its_signal_and_what_to_do(status: int, told: str) -> None:
    assert told_end("alice", status).startswith(told)
