"""Compiled kernels: loops over every pulse or every key bit, off the interpreter lock.

Machine code is cached beside the source or in `NUMBA_CACHE_DIR`. Where neither can be written the kernels are
compiled anew in each process, which costs seconds and nothing else: numba itself would refuse to import there.
"""

import logging
from collections.abc import Callable
from typing import cast

import numba

_log = logging.getLogger(__name__)
_told: list[str] = []


def kernel[F: Callable[..., object]](function: F) -> F:
    """Compile `function` in nopython mode, without the interpreter lock, cached where a cache can be written."""
    try:
        return cast("F", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba: "no locator available", on a read-only root without NUMBA_CACHE_DIR
        if not _told:
            _told.append(function.__name__)
            _log.warning("no folder to cache compiled kernels in: compiling them anew (set NUMBA_CACHE_DIR)")
        return cast("F", numba.njit(nogil=True)(function))
