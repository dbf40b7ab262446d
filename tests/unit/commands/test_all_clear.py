"""The doctor's last sentence claims no more than was looked at."""

import pytest

from qkdlink.commands.doctor import _all_clear
from qkdlink.deployment.diagnosis.findings import Diagnosis, Finding


@pytest.mark.parametrize(
    ("findings", "sentence"),
    [
        ((("files", Finding.ok("fine")),), "Nothing stands in the way of bob."),
        (
            (("files", Finding.ok("fine")), ("broker login", Finding.skipped("it runs"))),
            "Nothing was found in the way of bob, but these were not checked: broker login.",
        ),
    ],
)
def test_what_was_not_looked_at_is_named(findings: tuple[tuple[str, Finding], ...], sentence: str) -> None:
    assert _all_clear("bob", Diagnosis(findings)) == sentence
