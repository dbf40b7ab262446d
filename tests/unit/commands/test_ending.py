"""A command that is asked to end."""

import asyncio
import signal

import pytest

from qkdlink import cli

ASKED = (signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", ASKED)
def test_it_cleans_up_whoever_was_at_work_when_the_signal_came(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    cleaned = []

    async def asks() -> None:
        signal.raise_signal(number)
        await asyncio.sleep(0)

    async def run() -> None:
        other = asyncio.create_task(asks())
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.gather(other)
            cleaned.append(True)

    monkeypatch.setattr(cli, "app", lambda **_: asyncio.run(run()))
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo"])
    assert ended.value.code == 130
    assert cleaned


@pytest.mark.parametrize("number", ASKED)
def test_it_tells_an_event_loop_that_waits_for_ctrl_c_itself(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    async def run() -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, told.set)
        signal.raise_signal(number)
        async with asyncio.timeout(5):
            await told.wait()

    monkeypatch.setattr(cli, "app", lambda **_: asyncio.run(run()))
    with pytest.raises(SystemExit) as ended:
        cli.main(["up"])
    assert ended.value.code == 0


@pytest.mark.parametrize("number", ASKED)
def test_it_ends_where_ctrl_c_is_ignored_as_in_the_background_of_a_script(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        monkeypatch.setattr(cli, "app", lambda **_: signal.raise_signal(number))
        with pytest.raises(SystemExit) as ended:
            cli.main(["demo"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130


@pytest.mark.parametrize("words", [[], ["ca"], ["lab"]])
def test_a_command_that_is_named_without_anything_is_answered_with_its_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    told = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert told[0].split() == ["Usage:", "qkdlink", *words, "[OPTIONS]", "COMMAND", "[ARGS]..."]
    assert "Commands:" in told
