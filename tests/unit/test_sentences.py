"""One sentence for a person: of whatever error, and with paths as they are."""

from typing import cast

import pytest

from qkdlink.commands import doctor
from qkdlink.commands.link_plan import security_of
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.sentences import as_sentence, sentence
from qkdlink.deployment.diagnosis.causes import Obstacle
from qkdlink.deployment.diagnosis.findings import Diagnosis, Finding
from qkdlink.deployment.diagnosis.house import Patient
from qkdlink.deployment.homes.link_options import LinkOptions


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("nobody listens", "Nobody listens."),
        ("ipE/alice/node.toml is\n open to others.", "ipE/alice/node.toml is open to others."),
        ("store.db is gone", "store.db is gone."),
        ("afile does not exist", "afile does not exist."),
        ("bob at 127.0.0.1:7000: no answer in time", "bob at 127.0.0.1:7000: no answer in time."),
        ("a at 127.0.0.1:7000 hangs up", "a at 127.0.0.1:7000 hangs up."),
        ("he said \x1b]0;owned\x07 and \u202ebye", r"He said \x1b]0;owned\x07 and \u202ebye."),
        ("an " + "x" * 5000, "An " + "x" * 1994 + "..."),
    ],
)
def test_a_sentence_begins_with_a_capital_unless_it_begins_with_a_path(text: str, read: str) -> None:
    assert sentence(ExceptionGroup("", [ConfigurationError(text)])) == read
    assert as_sentence(text) == read


def test_the_doctor_leaves_a_path_as_it_is_too() -> None:
    found = Finding.failed(Obstacle.CONFIGURATION, "ipE/alice/node.toml is open to others")
    told = doctor._text(cast("Patient", None), Diagnosis((("files", found),)))
    assert told.endswith("In the way: configuration. ipE/alice/node.toml is open to others.")


@pytest.mark.parametrize(("anchor", "told"), [("pki", True), ("none", False)])
def test_an_option_without_effect_is_accepted_and_said_to_have_none(
    anchor: str, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = LinkOptions(anchor=anchor, authentication="wegman-carter", insecure_no_authentication=True)
    assert str(security_of(asked).anchor) == anchor
    said = capsys.readouterr()
    assert said.out == ""
    assert ("--insecure-no-authentication has no effect with the anchor pki." in said.err) is told
