import os
import subprocess
import sys

import pytest

_TOUCHED_BYTES = 2**24
_TOUCH_AGAIN_AND_AGAIN = f"""
import resource, threading
from qkdlink.common.node.pages import keep_pages
{{first}}
def touch():
    bytearray({_TOUCHED_BYTES})
def touch_in_a_thread():
    thread = threading.Thread(target=touch)
    thread.start()
    thread.join()
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    touch()
    touch_in_a_thread()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _fresh_pages(first: str) -> int:
    script = _TOUCH_AGAIN_AND_AGAIN.format(first=first)
    return int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout)


def _runs_on_glibc() -> bool:
    return "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})


@pytest.mark.skipif(not _runs_on_glibc(), reason="another allocator keeps or gives back as it likes")
def test_memory_that_was_freed_is_used_again_in_every_thread_without_fresh_pages() -> None:
    assert _fresh_pages("keep_pages()") < _fresh_pages("") / 4
