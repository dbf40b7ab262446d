"""One small valid message of every type."""

from qkdlink.common.wire import messages as say
from qkdlink.common.wire.messages import Message

_SAMPLES: tuple[Message, ...] = (
    say.Hello(
        protocol=say.PROTOCOL_VERSION,
        link="link",
        node="alice",
        nonce="0" * 32,
        anchor="pki",
        scheme="none",
        most_blocks=8,
        parameters="{}",
    ),
    say.Holdings(
        pending=b"p" * 56,
        have=b"h" * 56,
        never=b"",
        highest_block=2,
        heard_block=1,
        units_taken=8,
        units_heard=6,
    ),
    say.Goodbye(reason="all blocks are done"),
    say.OpenBlock(pulses=8, frames=1, verification_key=b""),
    say.BlockAccepted(verification_key=b""),
    say.LightEnded(),
    say.DetectionAnnouncement(detections=1, gaps=b"\0", bases=b"\0"),
    say.BasisAnnouncement(sifted=1, matched=b"\x80", classes=b"", emitted=(8,), detected=(1,)),
    say.TestBits(bits=b""),
    say.ReconciliationOpened(shuffle_seed=bytes(32), expected_qber=0.01),
    say.ParityQuestions(questions=b"\0\0\1\0"),
    say.ParityAnswers(count=1, parities=b"\0"),
    say.ReconciliationEnded(disclosed_parities=1, key_errors=(0,)),
    say.VerificationHash(disclosed_parities=1, seed=bytes(16), tag=bytes(7)),
    say.Verified(),
    say.AmplificationSeed(secret_bits=1, reserve_bits=0, seed=b"\0"),
    say.Confirmation(secret_bits=1),
    say.Checkpoint(position=0, scheme="certificate-signature", tag=bytes(64)),
    say.Abort(reason="of-a-later-version", detail="the node was stopped"),
)

SAMPLES = {type(message): message for message in _SAMPLES}
