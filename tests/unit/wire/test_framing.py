import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkdlink.common.errors import RemoteProtocolError
from qkdlink.common.wire.framing import LENGTHS, LONGEST_HEADER, Envelope, body_length, decode, encode
from qkdlink.common.wire.messages import MESSAGE_TYPES, Goodbye, Hello, Message
from tests.support.samples import SAMPLES
from tests.support.strategies import TYPES_WITH_A_STRATEGY, envelopes

SESSION = "0" * 32


def framed(header: str | bytes, attachments: bytes = b"") -> bytes:
    header = header if isinstance(header, bytes) else header.encode()
    return LENGTHS.pack(len(header), len(attachments)) + header + attachments


def header(message: str, block: str = "1", sequence: str = "0", attachments: str = "[]") -> str:
    return (
        f'{{"session":"{SESSION}","block":{block},"sequence":{sequence},"message":{message},'
        f'"attachments":{attachments}}}'
    )


ACCEPTED = '{"type":"light-ended"}'


def test_every_type_of_message_is_played_in_these_tests():
    assert set(SAMPLES) == set(MESSAGE_TYPES) == TYPES_WITH_A_STRATEGY


@given(envelope=envelopes)
def test_every_message_reads_back_as_it_was_written(envelope: Envelope):
    frame = encode(envelope)
    received = decode(frame)
    assert received.envelope == envelope
    assert received.frame == frame
    assert encode(received.envelope) == frame


@given(envelope=envelopes, data=st.data())
@settings(max_examples=200)
def test_a_frame_that_is_cut_short_or_longer_is_refused(envelope: Envelope, data: st.DataObject):
    frame = encode(envelope)
    cut = data.draw(st.integers(0, len(frame) - 1))
    for broken in (frame[:cut], frame + b"\0", frame + frame):
        with pytest.raises(RemoteProtocolError, match="malformed"):
            decode(broken)


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_every_truncation_of_every_message_is_refused(kind: type[Message]):
    frame = encode(Envelope(SESSION, 1, 0, SAMPLES[kind]))
    for length in range(len(frame)):
        with pytest.raises(RemoteProtocolError):
            decode(frame[:length])


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_every_changed_bit_of_every_message_is_refused_or_says_something_else(kind: type[Message]):
    envelope = Envelope(SESSION, 1, 0, SAMPLES[kind])
    frame = encode(envelope)
    for position in range(8 * len(frame)):
        broken = bytearray(frame)
        broken[position // 8] ^= 1 << position % 8
        try:
            received = decode(bytes(broken))
        except RemoteProtocolError:
            continue
        assert received.envelope != envelope
        assert received.frame != frame, "what the tag covers"


@given(data=st.binary(max_size=300))
@settings(max_examples=300)
def test_random_bytes_are_refused(data: bytes):
    for frame in (data, LENGTHS.pack(len(data), 0) + data, framed(header(ACCEPTED), data)[:-1]):
        with pytest.raises(RemoteProtocolError):
            decode(frame)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(value=json_values, field=st.sampled_from(["session", "block", "sequence", "message", "attachments"]))
def test_any_json_in_place_of_an_envelope_s_field_is_refused_or_valid(value: object, field: str):
    envelope = json.loads(header(ACCEPTED))
    envelope[field] = value
    try:
        received = decode(framed(json.dumps(envelope)))
    except RemoteProtocolError:
        return
    assert encode(received.envelope)


@given(kind=st.sampled_from(MESSAGE_TYPES), value=json_values, data=st.data())
@settings(max_examples=300)
def test_any_json_in_place_of_a_message_s_field_is_refused_or_valid(
    kind: type[Message], value: object, data: st.DataObject
):
    sample = SAMPLES[kind]
    fields = json.loads(sample.model_dump_json(exclude=set(sample.attachments)))
    fields[data.draw(st.sampled_from([*kind.model_fields, "unknown"]))] = value
    attached = [getattr(sample, name) for name in sample.attachments]
    text = header(json.dumps(fields), attachments=json.dumps([len(one) for one in attached]))
    try:
        received = decode(framed(text, b"".join(attached)))
    except RemoteProtocolError:
        return
    assert type(received.envelope.message) in MESSAGE_TYPES


MALFORMED: dict[str, str | bytes] = {
    "nothing": "",
    "no object": "null",
    "a number of 5000 digits": header(ACCEPTED, block="1" + "0" * 5000),
    "a number of 50000 digits in a message": header(f'{{"type":"light-ended","x":1{"0" * 50_000}}}'),
    "a negative block": header(ACCEPTED, block="-1"),
    "half a block": header(ACCEPTED, block="1.0"),
    "a block that is true": header(ACCEPTED, block="true"),
    "a block in quotes": header(ACCEPTED, block='"1"'),
    "a block beyond all": header(ACCEPTED, block=str(2**40 + 1)),
    "lists within lists": header(f'{{"type":"light-ended","x":{"[" * 20_000}{"]" * 20_000}}}'),
    "objects within objects": header('{"type":' * 7000 + "1" + "}" * 7000),
    "an unknown type": header('{"type":"surrender"}'),
    "no type": header("{}"),
    "a list for a type": header('{"type":["light-ended"]}'),
    "an object for a type": header('{"type":{"light-ended":1}}'),
    "a field too many": header('{"type":"light-ended","x":1}'),
    "a field too few": header('{"type":"goodbye"}'),
    "half a surrogate": header('{"type":"goodbye","reason":"\\ud800"}'),
    "no Unicode": header(ACCEPTED).encode() + b"\xff",
    "another encoding": header(ACCEPTED).encode("utf-16"),
    "a mark of its encoding": b"\xef\xbb\xbf" + header(ACCEPTED).encode(),
    "a list in a list": header('{"type":"reconciliation-ended","disclosed_parities":1,"key_errors":[[1]]}'),
    "no list": header('{"type":"reconciliation-ended","disclosed_parities":1,"key_errors":"1"}'),
    "an empty list": header('{"type":"reconciliation-ended","disclosed_parities":1,"key_errors":[]}'),
    "too long a list": header(
        '{"type":"reconciliation-ended","disclosed_parities":1,"key_errors":[1,1,1,1,1]}'
    ),
    "not a number": header('{"type":"reconciliation-opened","expected_qber":NaN}', attachments="[0]"),
    "infinity": header('{"type":"reconciliation-opened","expected_qber":Infinity}', attachments="[0]"),
    "an attachment too many": header(ACCEPTED, attachments="[0]"),
    "an attachment too few": header('{"type":"test-bits"}'),
    "an attachment in the text": header('{"type":"test-bits","bits":""}', attachments="[0]"),
    "a negative attachment": header('{"type":"test-bits"}', attachments="[-1]"),
    "an attachment of 400 digits": header('{"type":"test-bits"}', attachments=f"[1{'0' * 400}]"),
    "attachments that do not add up": header('{"type":"test-bits"}', attachments="[1]"),
    "a sixth attachment": header('{"type":"test-bits"}', attachments="[0,0,0,0,0,0]"),
    "a name with a line break": header(
        f'{{"type":"hello","protocol":"x","link":"a\\n","node":"b","nonce":"{SESSION}","parameters":""}}'
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_header_is_refused_in_one_short_printable_line(name: str):
    with pytest.raises(RemoteProtocolError) as refused:
        decode(framed(MALFORMED[name]))
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


def test_a_fault_is_named_by_the_field_it_is_in():
    with pytest.raises(RemoteProtocolError, match="secret_bits: Input should be greater than or equal to 1"):
        decode(framed(header('{"type":"confirmation","secret_bits":0}')))


@pytest.mark.parametrize("field", ["\x1b[2Jgone", "k" * 30_000, "line\nbreak"])
def test_a_field_s_name_of_the_peer_s_making_does_not_reach_a_terminal_as_it_is(field: str):
    with pytest.raises(RemoteProtocolError) as refused:
        decode(framed(header(json.dumps({"type": "light-ended", field: 1}))))
    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        header('{"type":"goodbye","type":"light-ended"}'),
        header('{"reason":"x","reason":"y","type":"goodbye"}'),
        '{"block":2,' + header(ACCEPTED)[1:],
    ],
)
def test_a_member_that_stands_twice_is_refused(text: str):
    with pytest.raises(
        RemoteProtocolError, match=r'malformed message: the member "(type|reason|block)" stands twice'
    ):
        decode(framed(text))


@pytest.mark.parametrize("unprintable", ["\x1b[2J", "\r", "\n", "\x00", "\x9b", "\u202e", "\u2028"])
@pytest.mark.parametrize(
    "message",
    [
        {"type": "goodbye", "reason": "over"},
        {"type": "abort", "reason": "light-lost", "detail": "gone"},
        {"type": "checkpoint", "position": 0, "scheme": "none", "pad": "5e/1"},
    ],
    ids=lambda message: message["type"],
)
def test_text_that_a_terminal_might_obey_is_malformed_in_every_field(
    message: dict[str, object], unprintable: str
):
    attachments = "[0]" if message["type"] == "checkpoint" else "[]"
    decode(framed(header(json.dumps(message), attachments=attachments)))
    for name, value in message.items():
        if isinstance(value, str) and name != "type":
            spoilt = json.dumps({**message, name: value + unprintable})
            with pytest.raises(RemoteProtocolError, match=name) as refused:
                decode(framed(header(spoilt, attachments=attachments)))
            assert str(refused.value).isprintable()


def test_a_session_is_thirty_two_hexadecimal_digits_and_no_others():
    for session in ("0" * 31, "0" * 33, "A" * 32, "٠" * 32, "0" * 31 + "\\n"):
        with pytest.raises(RemoteProtocolError, match="session"):
            decode(framed(header(ACCEPTED).replace(SESSION, session)))


def test_lengths_within_the_limit_are_believed_and_others_refused():
    assert body_length(LENGTHS.pack(10, 20), limit=20) == 30
    assert body_length(LENGTHS.pack(LONGEST_HEADER, 0), limit=0) == LONGEST_HEADER
    for lengths in ((LONGEST_HEADER + 1, 0), (0, 21), (2**32 - 1, 2**32 - 1)):
        with pytest.raises(RemoteProtocolError, match="more than this block can need"):
            body_length(LENGTHS.pack(*lengths), limit=20)


def test_the_longest_message_of_ours_fits_into_a_header():
    hello = Hello(
        anchor="pki",
        scheme="none",
        protocol="x" * 32,
        link="a" * 63,
        node="b" * 63,
        nonce="0" * 32,
        most_blocks=64,
        parameters='"' * 8192,
    )
    goodbye = Goodbye(reason="\N{GRINNING FACE}" * 500)
    for message in (hello, goodbye):
        frame = encode(Envelope("f" * 32, 2**40, 2**32, message))
        assert LENGTHS.unpack_from(frame)[0] <= LONGEST_HEADER


@pytest.mark.parametrize("kind", MESSAGE_TYPES)
def test_no_message_prints_its_attachments(kind: type[Message]):
    message = SAMPLES[kind]
    for name in message.attachments:
        shown = f"{name}='<{len(getattr(message, name))} bytes>'"
        assert shown in repr(message)
        assert shown in str(message)
