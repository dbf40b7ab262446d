"""What Alice's station asks of her settings before she does anything."""

from types import SimpleNamespace

from qkdlink.common.authentication.scheme import SchemeName
from qkdlink.common.errors import StarvationError
from qkdlink.common.protocol.economy import Backoff


def idle_settings(*, attacked: bool = False) -> SimpleNamespace:
    """Settings of an Alice who begins nothing by herself; if she is attacked on purpose, her pauses are short."""
    return SimpleNamespace(
        node="alice",
        peer="bob",
        rekey_blocks=1,
        rekey_seconds=1.0,
        blocks=0,
        blocks_in_flight=2,
        backoff=Backoff(1.0, 600.0, 5_400.0 if attacked else None),
    )


def idle_vault(payable: int = 0) -> SimpleNamespace:
    """A vault that pays for so many blocks, and has made no key."""
    vault = SimpleNamespace(
        scheme=SchemeName.WEGMAN_CARTER,
        payable=payable,
        blocks_payable=lambda: vault.payable,
        starvation=lambda: StarvationError("The link stops."),
        store=SimpleNamespace(highest_block=lambda: 0, units=SimpleNamespace(blocks_since_a_key=lambda: 0)),
    )
    return vault
