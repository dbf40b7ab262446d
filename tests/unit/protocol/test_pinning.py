import pytest

from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.protocol.pinning import Pinning

KEY, OTHER = b"k" * 32, b"o" * 32


def test_nothing_is_shown_or_taken_where_no_scheme_signs():
    pinning = Pinning()
    pinning.shown(b"")
    assert (pinning.ours, pinning.theirs) == (b"", b"")
    with pytest.raises(RemoteProtocolError, match="a verification key of 32 bytes where 0 are due"):
        pinning.shown(KEY)
    assert pinning.theirs == b""


@pytest.mark.parametrize("shown", [b"", KEY[:-1], KEY + b"k"])
def test_a_key_of_another_length_is_refused(shown: bytes):
    pinning = Pinning(ours=OTHER, length=32)
    with pytest.raises(RemoteProtocolError, match=f"of {len(shown)} bytes where 32 are due"):
        pinning.shown(shown)
    assert pinning.theirs == b""


def test_the_pinned_key_may_be_shown_again_and_no_other_takes_its_place():
    pinning = Pinning(length=32, pinned=KEY)
    with pytest.raises(RemoteProtocolError, match=r"another verification key .*`qkdlink bootstrap --again`"):
        pinning.shown(OTHER)
    assert pinning.theirs == b""
    pinning.shown(KEY)
    assert pinning.theirs == KEY
