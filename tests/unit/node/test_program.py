"""A node that is started by hand, before its kernels are compiled."""

import numba
import pytest

from qkdlink.common.node import program


def test_the_first_compilation_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    program._tell_of_compilation("bob")
    for _ in range(2):
        numba.njit(lambda x: x + 1)(1)
    assert capsys.readouterr().err == (
        "bob: compiling numeric kernels, once on this machine; it takes about half a minute\n"
    )
