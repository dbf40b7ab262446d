"""Stores lie in memory here: whether a disk keeps what it was told to is not what these tests are about."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stores import fast_folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    folder = fast_folder()
    yield folder
    shutil.rmtree(folder)
