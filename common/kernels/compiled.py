"""Compiled kernels: loops over every pulse or every key bit, off the interpreter lock.

Machine code is cached beside the source or in `NUMBA_CACHE_DIR`. Where neither can be written the kernels are
compiled anew in each process, which costs seconds and nothing else: numba itself would refuse to import there.

numba asks of a cached kernel whether its own file has changed. What it calls is compiled into it, from whatever file,
so here its cache is also asked about the text of all files in its folder, and in those of the kernels that it calls.
"""

import hashlib
import logging
import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import cast

import numba
from numba.core.event import Event, Listener, register
from numba.core.registry import cpu_target

numba.config.DISABLE_JIT = 0  # type: ignore[attr-defined] # numba defines its settings while it is imported
# NUMBA_DISABLE_JIT is for finding faults in numba programs of another kind: these kernels have instructions of the
# processor in them that Python does not have, and compute with 64 bits that wrap around

_BLAS = "scipy.linalg.cython_blas"


def _load_without_scipy() -> None:
    """Let numba load its arrays without looking for BLAS, which would import scipy: no kernel multiplies matrices."""
    before = sys.modules.get(_BLAS)
    sys.modules[_BLAS] = None  # type: ignore[assignment] # which makes Python refuse to import it
    try:
        import_module("numba.np.arraymath")
    finally:
        del sys.modules[_BLAS]
        if before is not None:
            sys.modules[_BLAS] = before


_load_without_scipy()
_log = logging.getLogger(__name__)
_told: list[str] = []
_folders: dict[object, frozenset[Path]] = {}
"""By kernel: where everything lies that is compiled into it."""


def kernel[F: Callable[..., object]](function: F) -> F:
    """Compile `function` in nopython mode, without the interpreter lock, cached where a cache can be written."""
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "no locator available", on a read-only root without NUMBA_CACHE_DIR
        if not _told:
            _told.append(function.__name__)
            _log.warning("no folder to cache compiled kernels in: compiling them anew (set NUMBA_CACHE_DIR)")
        return cast("F", numba.njit(nogil=True)(function))
    _folders[compiled] = _compiled_in(function)
    _ask_about(compiled, _folders[compiled])
    return cast("F", compiled)


def load_types() -> None:
    """Let numba import now what it imports at the first call of any kernel: the types that a kernel can be called with.

    A node does so among its other imports, at the same time as its peer. Later one would wait for the other there,
    once on each side, with a block under way.
    """
    cpu_target.typing_context.refresh()


class _FirstCompilation(Listener):
    def __init__(self, say: Callable[[], None]) -> None:
        self._say: Callable[[], None] | None = say

    def on_start(self, event: Event) -> None:  # noqa: ARG002 - numba names it
        """Report it, once."""
        say, self._say = self._say, None
        if say is not None:
            say()

    def on_end(self, event: Event) -> None:
        """Do nothing: the next kernel may follow."""


def on_first_compilation(say: Callable[[], None]) -> None:
    """Call `say` once, as soon as this process compiles a kernel that no cache has."""
    register("numba:compile", _FirstCompilation(say))  # type: ignore[no-untyped-call] # numba has no types


def cache_folder(function: Callable[..., object]) -> Path | None:
    """Return where the machine code of a kernel is cached; None where it is not."""
    return Path(attrgetter("_cache.cache_path")(function)) if function in _folders else None


def digest_of_kernels(*packages: Path) -> str:
    """Digest all that their machine code depends on: the text of the kernels' folders, numba, the processor."""
    folders = {
        path.parent
        for package in packages
        for path in package.rglob("*.py")
        if b"\n@kernel" in path.read_bytes()
    }
    depends_on = (numba.__version__, *_processor(), *map(_text_of, sorted(folders)))
    return hashlib.sha256("\0".join(depends_on).encode()).hexdigest()


def target() -> tuple[str, frozenset[str]]:
    """Return the architecture that kernels are compiled for, and the features that LLVM may use of it, by its names.

    It is that of this processor unless numba's settings say less.
    """
    triple, _, listed = _processor()
    return triple.split("-")[0], frozenset(each[1:] for each in listed.split(",") if each.startswith("+"))


def _processor() -> tuple[str, str, str]:
    """Return its architecture, its name and its features, as LLVM has them."""
    return cast("tuple[str, str, str]", cpu_target.target_context.codegen().magic_tuple())


def _compiled_in(function: Callable[..., object]) -> frozenset[Path]:
    code, known = function.__code__, function.__globals__
    called = [
        _folders.get(known[name], frozenset[Path]()) for name in code.co_names if _is_kernel(known.get(name))
    ]
    return frozenset({Path(code.co_filename).parent}).union(*called)


def _is_kernel(thing: object) -> bool:
    return isinstance(thing, numba.core.dispatcher.Dispatcher)


def _ask_about(compiled: object, folders: frozenset[Path]) -> None:
    """Make the cache of a kernel stale where any of these folders has another text than when it was filled."""
    file = attrgetter("_cache._cache_file")(compiled)  # numba has no other way to say what a kernel rests on
    file._source_stamp = (file._source_stamp, *sorted(map(_text_of, folders)))  # noqa: SLF001


@cache
def _text_of(folder: Path) -> str:
    """Digest the Python files of a folder, or nothing where there are none to read."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
