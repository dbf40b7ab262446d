"""A broker that does not start is told with its own last words: its log goes with the folder that it is in."""

from pathlib import Path

import pytest

from common.errors import LinkError
from lab.broker import last_words, run_broker


async def test_a_broker_that_ends_at_once_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "mosquitto"
    broken.write_text("#!/bin/sh\necho first >&2\necho 'Error: no room for a broker' >&2\nexit 3\n")
    broken.chmod(0o700)
    monkeypatch.setattr("lab.broker.find_mosquitto", lambda: str(broken))
    with pytest.raises(
        LinkError, match=r"^The broker \(mosquitto\) did not start: Error: no room for a broker$"
    ):
        async with run_broker(tmp_path, []):
            pass


@pytest.mark.parametrize("log", [None, "", " \n\n"])
def test_a_broker_that_has_said_nothing_has_not_said_why(log: str | None, tmp_path: Path) -> None:
    if log is not None:
        (tmp_path / "log").write_text(log)
    assert last_words(tmp_path / "log") == "it has not said why."
