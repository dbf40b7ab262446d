"""Stores lie in memory here: whether a disk keeps what it was told to is not what these tests are about."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stores import in_memory


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with in_memory() as folder:
        yield folder
