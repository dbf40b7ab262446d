"""A recording has every byte with its time, for its owner alone, within its bounds."""

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest

from qkdlink.common.errors import ConfigurationError
from qkdlink.eve.recorder import RECORDING_FILE, Passed, Recorder, Wire, read_recording
from qkdlink.eve.relay import Way


def clock():
    times = iter(range(100))
    return lambda: float(next(times))


def test_what_was_recorded_is_read_back_in_order(tmp_path: Path):
    with closing(Recorder(tmp_path / "wires", clock())) as recorder:
        recorder.words(3, Way.TO_ALICE, b"hello")
        recorder.light(b"sealed")
        recorder.receipt(b"taken")
        recorder.journal(b"{}")
        recorder.closed(3)
    assert list(read_recording(tmp_path / "wires")) == [
        Passed(0.0, Wire.WORDS, Way.TO_ALICE, 3, b"hello"),
        Passed(1.0, Wire.LIGHT, Way.TO_BOB, 0, b"sealed"),
        Passed(2.0, Wire.RECEIPTS, Way.TO_ALICE, 0, b"taken"),
        Passed(3.0, Wire.JOURNAL, Way.TO_BOB, 0, b"{}"),
        Passed(4.0, Wire.WORDS, Way.TO_BOB, 3, b""),
    ]


def test_nobody_else_can_read_it_and_it_is_never_written_over(tmp_path: Path):
    Recorder(tmp_path / "wires").close()
    assert stat.S_IMODE((tmp_path / "wires" / RECORDING_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "wires").stat().st_mode) == 0o700
    with pytest.raises(ConfigurationError, match=r"There is a recording in .* already"):
        Recorder(tmp_path / "wires")


def test_it_is_bounded_and_light_leaves_room_for_words(tmp_path: Path):
    with closing(Recorder(tmp_path, clock(), most_bytes=200, most_light_bytes=50)) as recorder:
        for _ in range(3):
            recorder.light(bytes(40))
        for _ in range(3):
            recorder.words(1, Way.TO_BOB, bytes(60))
        assert recorder.lost_bytes == 2 * 40 + 2 * 60
        assert recorder.size_bytes == (tmp_path / RECORDING_FILE).stat().st_size <= 200
    assert [each.wire for each in read_recording(tmp_path)] == [Wire.LIGHT, Wire.WORDS]


def test_a_full_disk_ends_the_recording_and_leaves_whole_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with closing(Recorder(tmp_path)) as recorder:
        recorder.words(1, Way.TO_BOB, b"first")
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:5]))
        recorder.words(1, Way.TO_BOB, b"cut short")
        monkeypatch.undo()
        recorder.words(1, Way.TO_BOB, b"too late")
    assert [each.data for each in read_recording(tmp_path)] == [b"first"]


@pytest.mark.parametrize("damage", [b"\0", b"\0" * 18, b"x" * 40])
def test_what_is_no_recording_is_refused(tmp_path: Path, damage: bytes):
    with pytest.raises(ConfigurationError, match="There is no recording"):
        list(read_recording(tmp_path))
    with closing(Recorder(tmp_path)) as recorder:
        recorder.words(1, Way.TO_BOB, b"first")
    with (tmp_path / RECORDING_FILE).open("ab") as file:
        file.write(damage)
    with pytest.raises(ConfigurationError, match="is damaged, or no recording"):
        list(read_recording(tmp_path))
