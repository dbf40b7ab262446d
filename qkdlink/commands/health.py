"""`python -m qkdlink.commands.health JOURNAL`: has this node made a key lately? The health check of a container.

A process that runs, and a line that stands, are no proof that keys are made; a block that has ended with one is. The
journal is read as plain JSON and nothing else is imported, because this runs every few seconds.
"""

import json
import os
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

_TAIL_BYTES = 1 << 20
_WITHIN_S = 120.0


def complaint(journal: Path, now: float, within_s: float = _WITHIN_S) -> str | None:
    """Say what is wrong with the node that writes `journal`, in one sentence; None if it is healthy.

    `now` is in seconds since 1970. A key counts if it was made by the process that runs now, at most `within_s` ago.
    """
    try:
        entries = _tail(journal)
    except OSError as error:
        return f"the journal {journal} cannot be read: {error.strerror}"
    made = None
    for entry in entries:
        match entry["event"]:
            case {"type": "node-started"}:
                made = None
            case {"type": "node-stopped"}:
                return "the node has stopped"
            case {"type": "block-ended", "secret_bits": bits} if bits > 0:
                made = entry["time"]
    if made is None:
        return "no block has ended with a key yet"
    if now - made > within_s:
        return f"the last block that ended with a key did so {now - made:.0f} s ago"
    return None


def _tail(journal: Path) -> list[dict[str, Any]]:
    with journal.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().rpartition(b"\n")[0].splitlines()  # the last line may be in the making
    if size > _TAIL_BYTES:
        del lines[0]  # and the first one cut
    return [json.loads(line) for line in lines]


def _main() -> int:
    parser = ArgumentParser(
        prog="python -m qkdlink.commands.health", description="Has this node made a key lately?"
    )
    parser.add_argument("journal", type=Path)
    parser.add_argument("--within", type=float, default=_WITHIN_S, metavar="SECONDS")
    options = parser.parse_args()
    said = complaint(options.journal, time.time(), options.within)
    sys.stdout.write(f"{said or 'keys are being made'}\n")
    return 0 if said is None else 1


if __name__ == "__main__":
    sys.exit(_main())
