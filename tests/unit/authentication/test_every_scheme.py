"""What every scheme owes to its blocks: a tag holds for one link, session, block, place and transcript."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from qkdlink.common.authentication.gmac import Gmac
from qkdlink.common.authentication.hmac_sha256 import HmacSha256
from qkdlink.common.authentication.scheme import SchemeName, Tag
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.protocol.conversation import Place
from tests.support.schemes import (
    NO_SCHEME,
    SCHEMES,
    Ends,
    ed25519_schemes,
    ml_dsa_65_schemes,
    signature_schemes,
)

PLACE = Place("link-1", "5e" * 16, 7)
SAID = ((0, b"open"), (1, b"accepted"))
GARBAGE = (b"", bytes(16), bytes(32), bytes(64), b"\xff" * 3309, b"\x30\x06\x02\x01\x00\x02\x01\x00")


@dataclass(frozen=True)
class Statement:
    """What is tagged, and where."""

    place: Place = PLACE
    said: tuple[tuple[int, bytes], ...] = SAID
    speaker: int = 0
    position: int = 2

    @property
    def transcript(self) -> Transcript:
        transcript = Transcript(self.place.heading)
        for speaker, frame in self.said:
            transcript.append(speaker, frame)
        return transcript


HONEST = Statement()
OTHERS = {
    "another link": replace(HONEST, place=replace(PLACE, link="link-2")),
    "another session": replace(HONEST, place=replace(PLACE, session="77" * 16)),
    "other holdings": replace(HONEST, place=replace(PLACE, holdings=b"never")),
    "another block": replace(HONEST, place=replace(PLACE, block=8)),
    "the other direction": replace(HONEST, speaker=1),
    "an earlier position": replace(HONEST, position=1),
    "a later position": replace(HONEST, position=3),
    "a message more": replace(HONEST, said=(*SAID, (0, b""))),
    "a message less": replace(HONEST, said=SAID[:1]),
    "another word": replace(HONEST, said=((0, b"open"), (1, b"accepteD"))),
    "another speaker of a word": replace(HONEST, said=((1, b"open"), (1, b"accepted"))),
    "another order": replace(HONEST, said=SAID[::-1]),
    "two words in one": replace(HONEST, said=((0, b"openaccepted"),)),
}


@pytest.fixture(params=SCHEMES)
def make(request: pytest.FixtureRequest) -> Callable[[], Ends]:
    return SCHEMES[request.param]


async def tag_of(ends: Ends, one: Statement = HONEST, block: int = 7) -> Tag:
    return await ends[0].of_block(block).tag(one.speaker, one.position, one.transcript)


async def takes(ends: Ends, tag: Tag, one: Statement = HONEST) -> bool:
    return await ends[1].of_block(one.place.block).verify(one.speaker, one.position, one.transcript, tag)


async def test_the_peer_believes_a_tag(make: Callable[[], Ends]):
    ends = make()
    assert await takes(ends, await tag_of(ends))


@pytest.mark.parametrize("other", OTHERS)
async def test_a_tag_holds_at_its_own_place_and_for_its_own_words_alone(make: Callable[[], Ends], other: str):
    ends = make()
    tag = await tag_of(ends)
    assert not await takes(ends, tag, OTHERS[other])
    assert await takes(ends, tag), "and a refusal changes nothing"


async def test_a_tag_that_is_sent_back_is_not_the_peer_s(make: Callable[[], Ends]):
    ends = make()
    alices = ends[0].of_block(7)
    tag = await alices.tag(0, 2, HONEST.transcript)
    assert not await alices.verify(1, 2, HONEST.transcript, tag)


async def test_every_bit_of_a_tag_counts(make: Callable[[], Ends]):
    ends = make()
    tag = await tag_of(ends)
    step = max(1, len(tag.value) // 64)
    for index in range(0, len(tag.value), step):
        broken = bytearray(tag.value)
        broken[index] ^= 1 << index % 8
        assert not await takes(ends, replace(tag, value=bytes(broken)))
    assert await takes(ends, tag)


async def test_a_tag_is_neither_shorter_nor_longer(make: Callable[[], Ends]):
    ends = make()
    tag = await tag_of(ends)
    assert not await takes(ends, replace(tag, value=tag.value[:-1]))
    assert not await takes(ends, replace(tag, value=tag.value + b"\0"))


@pytest.mark.parametrize("value", GARBAGE, ids=len)
async def test_anything_else_is_no_tag_and_no_error(make: Callable[[], Ends], value: bytes):
    ends = make()
    pad = (await tag_of(ends)).pad
    assert not await takes(ends, Tag(value, pad))


async def test_a_tag_with_another_pad_s_name_is_refused(make: Callable[[], Ends]):
    ends = make()
    tag = await tag_of(ends)
    for pad in ("alice/1", "bob/0", "nobody/0", "\0"):
        assert not await takes(ends, replace(tag, pad=pad))
    assert await takes(ends, tag)


@pytest.mark.parametrize("make", [signature_schemes, ed25519_schemes, ml_dsa_65_schemes])
async def test_the_signatures_of_a_stranger_are_refused(make: Callable[[], Ends]):
    strangers_end, _ = make.__wrapped__()  # type: ignore[attr-defined] # new keys, past the cache
    ends = strangers_end, make()[1]
    assert not await takes(ends, await tag_of(ends))


@pytest.mark.parametrize("scheme", [HmacSha256, Gmac])
async def test_the_tags_of_another_session_s_key_are_refused(scheme: type[HmacSha256 | Gmac]):
    ends = scheme(bytes(32)), scheme(bytes(31) + b"\1")
    assert not await takes(ends, await tag_of(ends))


def test_a_connection_s_scheme_and_those_of_its_blocks_have_one_name():
    for name, make in SCHEMES.items():
        for end in make():
            assert end.name == end.of_block(1).name == name


def test_every_scheme_that_can_be_chosen_is_looked_at_here():
    assert {*SchemeName} - {SchemeName.NONE} == {*SCHEMES} - {"certificate-signature"}


def test_only_wegman_carter_has_its_tags_cut_and_only_signatures_have_keys_pinned():
    assert [name for name in SchemeName if name.cuts_tags] == [SchemeName.WEGMAN_CARTER]
    assert [name for name in SchemeName if name.signs] == [SchemeName.ED25519, SchemeName.ML_DSA_65]


async def test_without_authentication_every_word_is_believed_under_an_empty_tag_and_no_other():
    tag = await tag_of(NO_SCHEME)
    assert tag == Tag(b"")
    for other in OTHERS.values():
        assert await takes(NO_SCHEME, tag, other)
    assert not await takes(NO_SCHEME, Tag(b"\0"))
    assert not await takes(NO_SCHEME, Tag(b"", "a pad"))
