"""`python -m maintenance.documents [--check]`: write the generated passages anew, or say which documents have
drifted."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from maintenance.documents.contents import GENERATORS
from maintenance.documents.passages import documents, renewed

_ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None, root: Path = _ROOT) -> int:
    """Renew the documents below `root`; with --check change nothing, and return 1 if one of them has drifted."""
    parser = ArgumentParser(
        prog="python -m maintenance.documents", description="Write generated passages anew."
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a document has drifted")
    check = parser.parse_args(arguments).check
    drifted = [path for path in documents(root) if _has_drifted(path)]
    for path in drifted:
        if check:
            name = path.relative_to(root)
            sys.stderr.write(f"{name} has drifted from the code: run python -m maintenance.documents\n")
        else:
            path.write_text(renewed(path.read_text("utf-8"), GENERATORS), "utf-8")
    return 1 if check and drifted else 0


def _has_drifted(path: Path) -> bool:
    text = path.read_text("utf-8")
    return renewed(text, GENERATORS) != text


if __name__ == "__main__":
    sys.exit(main())
