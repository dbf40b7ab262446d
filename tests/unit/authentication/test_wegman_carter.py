import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdlink.common.authentication.scheme import Tag
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.authentication.wegman_carter import (
    UNIT_BYTES,
    WegmanCarter,
    WegmanCarterBlock,
    forgery_probability,
    polynomial_tag,
)
from qkdlink.common.errors import StarvationError
from qkdlink.common.keys.allotment import TAG_BITS, UNIT_BITS
from tests.support.pads import MemoryPads, pads

PRIME = 2**130 - 5
CLAMP = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
MOST_TAGS = 3

# RFC 8439, section 2.5.2 and appendix A.3, test vectors 2 and 7 to 11: r, s, text, tag
IETF = b"Any submission to the IETF intended by the Contributor for publication as all or part of an IETF"
RFC_8439 = [
    (
        "85d6be7857556d337f4452fe42d506a8",
        "0103808afb0db2fd4abff6af4149f51b",
        b"Cryptographic Forum Research Group",
        "a8061dc1305136c6c22b8baf0c0127a9",
    ),
    ("00" * 16, "36e5f6b5c5e06070f0efca96227a863e", IETF, "36e5f6b5c5e06070f0efca96227a863e"),
    ("02" + "00" * 15, "00" * 16, b"\xff" * 16, "03" + "00" * 15),
    ("02" + "00" * 15, "ff" * 16, b"\x02" + bytes(15), "03" + "00" * 15),
    (
        "01" + "00" * 15,
        "00" * 16,
        bytes.fromhex("ff" * 16 + "f0" + "ff" * 15 + "11" + "00" * 15),
        "05" + "00" * 15,
    ),
    (
        "01" + "00" * 15,
        "00" * 16,
        bytes.fromhex("ff" * 16 + "fb" + "fe" * 15 + "01" * 16),
        "00" * 16,
    ),
    ("02" + "00" * 15, "00" * 16, b"\xfd" + b"\xff" * 15, "fa" + "ff" * 15),
]


def transcript(*frames: bytes) -> Transcript:
    said = Transcript(b"heading")
    for frame in frames:
        said.append(0, frame)
    return said


def by_hand(r: bytes, s: bytes, message: bytes) -> bytes:
    """The definition: the message's blocks of 16 bytes, each with a 1 behind it, as coefficients of a polynomial."""
    point, value = int.from_bytes(r, "little") & CLAMP, 0
    for start in range(0, len(message), 16):
        value = (value + int.from_bytes(message[start : start + 16] + b"\1", "little")) * point % PRIME
    return ((value + int.from_bytes(s, "little")) % 2**128).to_bytes(16, "little")


@pytest.mark.parametrize(("r", "s", "text", "tag"), RFC_8439)
def test_the_polynomial_is_that_of_rfc_8439(r: str, s: str, text: bytes, tag: str):
    assert polynomial_tag(bytes.fromhex(r), bytes.fromhex(s), [text]).hex() == tag
    assert by_hand(bytes.fromhex(r), bytes.fromhex(s), text).hex() == tag


@given(
    r=st.binary(min_size=16, max_size=16),
    s=st.binary(min_size=16, max_size=16),
    parts=st.lists(st.binary(max_size=40), max_size=5),
)
def test_the_polynomial_runs_over_the_bytes_themselves_however_they_are_cut(
    r: bytes, s: bytes, parts: list[bytes]
):
    assert polynomial_tag(r, s, parts) == by_hand(r, s, b"".join(parts))


async def test_a_tag_is_the_polynomial_over_transcript_and_place_under_the_first_half_plus_the_next_pad():
    alices, _ = pads()
    block = WegmanCarter(alices).of_block(7)
    (first, one), (second, two) = list(alices.own.items())[:2]
    halves = [one[:16], one[16:], two[:16], two[16:]]
    for index, name in enumerate((first, second, second)):
        said = transcript(*(b"word" for _ in range(index)))
        tag = await block.tag(0, index, said)
        written = b"".join(said.parts()) + bytes([0, index])
        assert tag == Tag(by_hand(halves[0], halves[index + 1], written), name)


def test_the_bound_is_that_of_the_polynomial_s_degree_over_the_free_bits_of_r():
    assert (CLAMP).bit_count() == 106
    assert forgery_probability(16) == 8 / 2**106
    assert forgery_probability(17) == forgery_probability(32) == 16 / 2**106
    assert forgery_probability(0) == 0
    assert forgery_probability(200_000) == pytest.approx(1.2326e-27, rel=1e-3)
    assert math.log2(forgery_probability(2**31)) == -76, "for a transcript of 2 GiB"


def test_what_a_block_pays_for_is_one_r_and_three_pads_in_each_direction():
    assert TAG_BITS == 128 * (1 + MOST_TAGS)
    assert UNIT_BITS == 8 * UNIT_BYTES
    assert TAG_BITS % UNIT_BITS == 0


async def play(turns: list[int], number: int, ends: tuple[WegmanCarter, WegmanCarter]) -> list[Tag]:
    """Play a block in which the parties tag in this order; the other one believes every tag."""
    blocks, tags, said = [end.of_block(number) for end in ends], [], transcript()
    for position, speaker in enumerate(turns):
        tags.append(await blocks[speaker].tag(speaker, position, said))
        assert await blocks[1 - speaker].verify(speaker, position, said, tags[-1])
        said.append(speaker, tags[-1].value)
    return tags


def halves_used(side: MemoryPads, blocks: list[list[int]], speaker: int) -> list[bytes]:
    """Recompute which halves of the units taken went into tags: first of a block r, then a pad for each tag."""
    taken, used = iter(side.own.values()), []
    for turns in blocks:
        count = turns.count(speaker)
        if count:
            material = b"".join(next(taken) for _ in range(math.ceil((count + 1) / 2)))
            used += [material[start : start + 16] for start in range(0, 16 * (count + 1), 16)]
    return used


@given(
    blocks=st.lists(
        st.lists(st.integers(0, 1), max_size=6).filter(
            lambda turns: max(turns.count(0), turns.count(1)) <= MOST_TAGS
        ),
        max_size=5,
    )
)
async def test_no_half_of_any_unit_is_used_for_two_tags_or_in_two_blocks(blocks: list[list[int]]):
    sides = pads(units=12)
    ends = WegmanCarter(sides[0]), WegmanCarter(sides[1])
    tags = [await play(turns, number, ends) for number, turns in enumerate(blocks, start=1)]
    for speaker, side in enumerate(sides):
        used = halves_used(side, blocks, speaker)
        assert len(used) == len(set(used))
        taken = [each for each in side.happened if each.startswith("take")]
        assert (
            len(taken)
            == len(set(taken))
            == sum(math.ceil((turns.count(speaker) + 1) / 2) for turns in blocks if speaker in turns)
        )
        # the peer has noted just those, each for its block, and no more
        assert [
            f"take {name} for {block}" for name, block in sides[1 - speaker].used_by_peer.items()
        ] == taken
    assert len({tag.value for each in tags for tag in each}) == sum(len(each) for each in tags)


async def test_a_unit_is_spent_before_its_tag_is_computed_and_noted_after_it_was_verified():
    (alices, bobs), happened = pads(), list[str]()
    alices.happened = bobs.happened = happened
    ours, theirs = WegmanCarter(alices).of_block(7), WegmanCarter(bobs).of_block(7)
    said = transcript(b"word")
    tag = await ours.tag(0, 0, said)
    happened.append("the tag leaves")
    assert await theirs.verify(0, 0, said, tag)
    assert happened == [
        "take alice/0 for 7",
        "the tag leaves",
        "look up alice/0",
        "used alice/0 for 7",
    ]


def state(block: WegmanCarterBlock, side: MemoryPads) -> list[object]:
    theirs = block._theirs
    return [[*theirs.names], [*theirs.halves], theirs.tags, dict(side.used_by_peer)]


async def test_a_wrong_tag_uses_nothing_up_and_changes_nothing():
    alices, bobs = pads()
    ours, theirs = WegmanCarter(alices).of_block(7), WegmanCarter(bobs).of_block(7)
    said = transcript(b"word")
    for position in range(4):
        tag = await ours.tag(0, position, said)
        before = state(theirs, bobs)
        for wrong in (Tag(bytes(16), tag.pad), Tag(tag.value, "alice/7"), Tag(tag.value, "")):
            assert not await theirs.verify(0, position, said, wrong)
            assert state(theirs, bobs) == before
        assert await theirs.verify(0, position, said, tag)


async def first_tag(side: MemoryPads, number: int = 7) -> tuple[Tag, Transcript]:
    said = transcript(b"word")
    return await WegmanCarter(side).of_block(number).tag(0, 0, said), said


def bobs_block(bobs: MemoryPads, number: int = 7) -> WegmanCarterBlock:
    return WegmanCarter(bobs).of_block(number)


async def test_a_pad_that_was_used_is_refused_in_the_same_block_and_in_every_other():
    alices, bobs = pads()
    tag, said = await first_tag(alices)
    theirs = bobs_block(bobs)
    assert await theirs.verify(0, 0, said, tag)
    assert not await theirs.verify(0, 0, said, tag)
    for number in (7, 8):
        assert not await bobs_block(bobs, number).verify(0, 0, said, tag)


async def test_a_pad_of_the_verifier_s_own_is_refused():
    alices, bobs = pads()
    name, material = next(iter(bobs.own.items()))
    said = transcript(b"word")
    forged = Tag(polynomial_tag(material[:16], material[16:], (*said.parts(), b"\0\0")), name)
    assert not await bobs_block(bobs).verify(0, 0, said, forged)
    assert alices.happened == []


async def test_a_pad_that_nobody_has_is_refused():
    alices, bobs = pads()
    tag, said = await first_tag(alices)
    for name in ("alice/8", "", "5e/7/tags-alice-to-bob/0", "x" * 128):
        assert not await bobs_block(bobs).verify(0, 0, said, Tag(tag.value, name))


async def test_a_unit_that_somebody_else_has_noted_meanwhile_is_refused_although_the_tag_is_right():
    alices, bobs = pads()
    tag, said = await first_tag(alices)
    theirs = bobs_block(bobs)
    looked_up = bobs.look_up

    async def slow(name: str) -> bytes | None:
        material = await looked_up(name)
        bobs.used_by_peer[name] = 6  # another block of the same peer's was quicker
        return material

    bobs.look_up = slow  # type: ignore[method-assign]
    assert not await theirs.verify(0, 0, said, tag)
    assert theirs._theirs.tags == 0


async def test_without_a_unit_there_is_no_tag():
    alices, _ = pads(units=1)
    block = WegmanCarter(alices).of_block(7)
    said = transcript(b"word")
    await block.tag(0, 0, said)
    with pytest.raises(StarvationError):
        await block.tag(0, 1, said)


async def test_the_units_of_a_direction_belong_to_it_alone():
    sides = pads()
    ends = WegmanCarter(sides[0]), WegmanCarter(sides[1])
    tags = await play([1, 0, 1, 0, 0, 1], 7, ends)
    assert [tag.pad for tag in tags] == ["bob/0", "alice/0", "bob/1", "alice/1", "alice/1", "bob/1"]
