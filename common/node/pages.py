"""Memory that was used once is kept: a block asks for the same hundreds of megabytes as the one before it.

glibc gives large pieces back to the system when they are freed and asks for them anew, in pages that the system first
has to fill with zeros; and threads that compute get arenas of their own, each with what it keeps. That was a
tenth to a quarter of a station's processor time. What it holds at most does not grow by this: it is what two blocks
need, as before.

Source: mallopt(3).
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
_NEVER = -1


def keep_pages() -> None:
    """Let this process keep what it frees, in one arena; call it before there are threads.

    Without glibc nothing happens: what comes of the computing is the same.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, value in ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER)):
        mallopt(option, value)
