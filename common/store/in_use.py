"""Whether somebody has a file open for writing at this moment: asked of the kernel, across containers."""

import fcntl
import os
import signal
from pathlib import Path


def is_open_for_writing(path: Path) -> bool:
    """Ask by a read lease, which Linux grants only on a file that nobody writes (fcntl(2), F_SETLEASE).

    Where there is no file, where its file system knows no leases, or it is somebody else's, the answer is False.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        # whoever opens it in this very instant is announced by a signal, whose default would end us
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return False
    finally:
        os.close(descriptor)
