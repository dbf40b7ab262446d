"""`qkdlink`, and `python -m qkdlink`: the command line, from its first moment on."""

from collections.abc import Callable

from qkdlink.common.startup import start


def main() -> None:
    """Run the command line."""
    start(_load, stopped=130, message="qkdlink: Stopped.")


def _load() -> Callable[[], None]:
    from qkdlink.cli import main as run

    return run


if __name__ == "__main__":
    main()
