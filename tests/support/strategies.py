"""Messages of every type, with every field anywhere in its bounds, for property tests."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from qkdlink.common.keys.identifiers import NAME_PATTERN, SESSION_PATTERN
from qkdlink.common.wire import messages as say
from qkdlink.common.wire.framing import Envelope
from qkdlink.common.wire.messages import Message

_counts = st.integers(0, 2**40)
_lengths = st.integers(1, 2**40)
_class_counts = st.lists(_counts, min_size=1, max_size=4).map(tuple)
_fractions = st.floats(0, 1)
_names = st.from_regex(NAME_PATTERN, fullmatch=True)
_hexadecimal = st.from_regex(SESSION_PATTERN, fullmatch=True)
_words = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
_attachments = st.binary(max_size=40)
_texts = st.characters(exclude_categories=["C", "Z"], include_characters=" ")


def _sentences(longest: int) -> SearchStrategy[str]:
    return st.text(_texts, max_size=longest)


_BY_TYPE: dict[type[Message], SearchStrategy[Message]] = {
    say.Hello: st.builds(
        say.Hello,
        protocol=_sentences(32),
        link=_names,
        node=_names,
        nonce=_hexadecimal,
        anchor=_words,
        scheme=_words,
        parameters=_sentences(8192),
    ),
    say.Holdings: st.builds(
        say.Holdings,
        pending=_attachments,
        have=_attachments,
        never=_attachments,
        highest_block=_counts,
        heard_block=_counts,
        units_taken=_counts,
        units_heard=_counts,
    ),
    say.Goodbye: st.builds(say.Goodbye, reason=_sentences(500)),
    say.OpenBlock: st.builds(
        say.OpenBlock,
        pulses=st.integers(1, 2**32),
        frames=st.integers(1, 2**20),
        verification_key=_attachments,
    ),
    say.BlockAccepted: st.builds(say.BlockAccepted, verification_key=_attachments),
    say.LightEnded: st.builds(say.LightEnded),
    say.DetectionAnnouncement: st.builds(
        say.DetectionAnnouncement, detections=_counts, gaps=_attachments, bases=_attachments
    ),
    say.BasisAnnouncement: st.builds(
        say.BasisAnnouncement,
        sifted=_counts,
        matched=_attachments,
        classes=_attachments,
        emitted=_class_counts,
        detected=_class_counts,
    ),
    say.TestBits: st.builds(say.TestBits, bits=_attachments),
    say.ReconciliationOpened: st.builds(
        say.ReconciliationOpened, shuffle_seed=_attachments, expected_qber=_fractions
    ),
    say.ParityQuestions: st.builds(say.ParityQuestions, questions=_attachments),
    say.ParityAnswers: st.builds(say.ParityAnswers, count=_counts, parities=_attachments),
    say.ReconciliationEnded: st.builds(
        say.ReconciliationEnded, disclosed_parities=_counts, key_errors=_class_counts
    ),
    say.VerificationHash: st.builds(
        say.VerificationHash, disclosed_parities=_counts, seed=_attachments, tag=_attachments
    ),
    say.Verified: st.builds(say.Verified),
    say.AmplificationSeed: st.builds(
        say.AmplificationSeed, secret_bits=_lengths, reserve_bits=_counts, seed=_attachments
    ),
    say.Confirmation: st.builds(say.Confirmation, secret_bits=_lengths),
    say.Checkpoint: st.builds(
        say.Checkpoint,
        position=st.integers(0, 15),
        scheme=_sentences(64),
        pad=_sentences(128),
        tag=_attachments,
    ),
    say.Abort: st.builds(say.Abort, reason=_sentences(64), detail=_sentences(500)),
}

TYPES_WITH_A_STRATEGY = frozenset(_BY_TYPE)

messages: SearchStrategy[Message] = st.one_of(list(_BY_TYPE.values()))

envelopes: SearchStrategy[Envelope] = st.builds(
    Envelope,
    session=_hexadecimal,
    block=st.integers(0, 2**40),
    sequence=st.integers(0, 2**32),
    message=messages,
)
