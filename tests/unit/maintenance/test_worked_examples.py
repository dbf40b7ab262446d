"""The worked examples of the documents, computed again from what the text says, without the code that wrote them."""

import asyncio
import hashlib
import hmac
import json
import re
import struct
from fractions import Fraction
from math import ceil, floor, log2, sqrt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qkdlink.common.authentication.ml_dsa_65 import ml_dsa_65
from qkdlink.common.authentication.transcript import Transcript
from qkdlink.common.keys.derivation import Label
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.wire.framing import decode
from qkdlink.common.wire.messages import DetectionAnnouncement
from qkdlink.common.wire.pulse_frames import Receipt, split

DOCS = Path(__file__).resolve().parents[3] / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text("utf-8")
WIRE = (DOCS / "wire-format.md").read_text("utf-8")
KEYS = (DOCS / "keys.md").read_text("utf-8")


def passage(text: str, name: str) -> str:
    return text.partition(f"<!-- generated: {name} -->\n")[2].partition("\n<!-- end -->")[0]


def dumped(listing: str) -> bytes:
    """Read the middle column of a hex dump."""
    rows = re.findall(r"^[0-9a-f]{4}  ((?:[0-9a-f]{2} ?)+)", listing, re.MULTILINE)
    return bytes.fromhex("".join(rows))


def values(listing: str) -> dict[str, str]:
    return dict(re.findall(r"^(\S.*?) *= (.*)$", listing, re.MULTILINE))


CHECKPOINT = values(passage(PROTOCOL, "example-checkpoint"))
DISTILLATION = values(passage(PROTOCOL, "example-distillation"))
DERIVED = values(passage(KEYS, "example-keys"))


def bits_of(digits: str) -> list[int]:
    return [int(digit) for digit in digits]


class TestTheWireFormat:
    def test_the_example_of_a_message_reads_as_described(self):
        frame = dumped(passage(WIRE, "example-message"))
        text_length, attached = struct.unpack(">II", frame[:8])
        assert (text_length, len(frame)) == (148, 8 + text_length + attached)
        header = json.loads(frame[8 : 8 + text_length])
        assert set(header) == {"session", "block", "sequence", "message", "attachments"}
        assert (header["session"], header["block"], header["sequence"]) == (CHECKPOINT["session"], 1, 1)
        assert header["message"] == {"type": "detection-announcement", "detections": 4}
        gaps, bases = header["attachments"]
        body = frame[8 + text_length :]
        assert gates_of(body[:gaps]) == [3, 4, 200, 16700]
        assert packed_bits(body[gaps:], 4) == [0, 1, 0, 0]
        assert bases == 1

    def test_the_code_reads_the_example_of_a_message(self):
        message = decode(dumped(passage(WIRE, "example-message"))).envelope.message
        assert isinstance(message, DetectionAnnouncement)
        assert message.detections == 4

    def test_the_examples_of_attachments_read_as_described(self):
        examples = {
            name: bytes.fromhex(text) for name, text in values(passage(WIRE, "example-attachments")).items()
        }
        assert gates_of(examples["gates 3, 4, 200, 16700"]) == [3, 4, 200, 16700]
        assert packed_bits(examples["bits 0, 1, 0, 0"], 4) == [0, 1, 0, 0]
        low, high = examples["classes 0, 2, 1, 0, 1 of three"]
        planes = zip(packed_bits(bytes([low]), 5), packed_bits(bytes([high]), 5), strict=True)
        assert [one + 2 * two for one, two in planes] == [0, 2, 1, 0, 1]
        assert struct.unpack("<3I", examples["integers 1, 2, 70000"]) == (1, 2, 70000)

    def test_the_parity_questions_read_as_described(self):
        *asked, answers = values(passage(WIRE, "example-questions")).values()
        questions = questions_of(bytes.fromhex("".join(asked)))
        assert questions == [
            (0, 300, 428, {0, 1, 2, 3}),
            (0, 295, 296, {5}),
            (3, 288, 289, set(range(64))),
        ]
        parities = sum(len(lanes) if index < 3 else 1 for index, _, _, lanes in questions)
        assert packed_bits(bytes.fromhex(answers), parities) == [1, 0, 0, 1, 1, 1]

    def test_the_header_of_light_reads_as_described(self):
        header = dumped(passage(WIRE, "example-light-header"))
        assert (header[:4], header[4], header[5]) == (b"QKDL", 1, 6)
        n = header[5]
        assert header[6 : 6 + n] == b"link-1"
        assert header[6 + n : 22 + n].hex() == CHECKPOINT["session"]
        fields = [(22, 8, 1), (30, 4, 2), (34, 4, 8), (38, 8, 524288), (46, 4, 262144)]
        for offset, size, value in fields:
            assert int.from_bytes(header[offset + n : offset + n + size]) == value
        assert len(header) == 50 + n

    def test_the_receipt_names_the_frame_of_the_header(self):
        header, _, _ = split(dumped(passage(WIRE, "example-light-header")) + b"light")
        receipt = dumped(passage(WIRE, "example-receipt"))
        assert Receipt.decode(receipt) == header.receipt
        assert receipt == bytes.fromhex(CHECKPOINT["session"]) + struct.pack(">QI", 1, 2)

    def test_the_sealed_frame_opens_as_described(self):
        sealed = sealed_example()
        version, sender, boot, counter = sealed[0], sealed[1:16], sealed[16:32], sealed[32:40]
        assert (version, sender.rstrip(b"\0"), boot, int.from_bytes(counter)) == (
            1,
            b"alice",
            b"\xaa" * 16,
            0,
        )
        key = HKDF(SHA256(), 32, salt=boot, info=b"qkdlink light seal 1|" + sender).derive(bytes(range(32)))
        nonce = bytes(4) + counter
        light = AESGCM(key).decrypt(nonce, sealed[40:], sealed[:40] + clear_header())
        assert struct.unpack(">Qddd", light[:32]) == (0, 10.0, 0.2, 0.01)
        assert light[32:].hex(" ") == "08 0c 12"
        assert len(sealed) == 72 + 3 + 16

    def test_the_code_opens_the_sealed_frame(self):
        train = LightSeal(bytes(range(32)), "bob").unseal(sealed_example(), clear_header())
        assert (train.first_pulse, len(train), train.medium.length_km) == (0, 3, 10.0)


def sealed_example() -> bytes:
    section = WIRE.partition("A frame of three pulses")[2].partition("## 5.")[0]
    return dumped(section)


def clear_header() -> bytes:
    place = struct.pack(">16sQIIQI", bytes.fromhex(CHECKPOINT["session"]), 1, 0, 1, 0, 3)
    return b"QKDL" + bytes([1, 6]) + b"link-1" + place


def gates_of(data: bytes) -> list[int]:
    gates, gap, shift = [], 0, 0
    for byte in data:
        gap |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            gates.append((gates[-1] + 1 if gates else 0) + gap)
            gap, shift = 0, 0
    return gates


def questions_of(data: bytes) -> list[tuple[int, int, int, set[int]]]:
    """Read (index, start, end, lanes) as section 2 of the wire format says."""
    rest, start, questions = iter(data), 0, []

    def number() -> int:
        value, shift = 0, 0
        for byte in rest:
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        return value

    for index in rest:
        distance, length = number(), number()
        start += distance // 2 if distance % 2 == 0 else -(distance + 1) // 2
        lane = next(rest)
        mask = int.from_bytes(bytes(next(rest) for _ in range(8)), "little") if lane == 64 else 1 << lane
        lanes = {bit for bit in range(64) if lane == 65 or mask >> bit & 1}
        questions.append((index, start, start + length, lanes))
    return questions


def packed_bits(data: bytes, count: int) -> list[int]:
    return [data[index // 8] >> (7 - index % 8) & 1 for index in range(count)]


class TestTheCheckPoints:
    def test_a_session_is_named_by_link_and_nonces(self):
        text = f"qkdlink session|link-1|{CHECKPOINT['nonce of Alice']}|{CHECKPOINT['nonce of Bob']}"
        assert CHECKPOINT["session"] == hashlib.sha256(text.encode()).hexdigest()[:32]

    def test_the_transcript_is_made_as_described(self):
        heading = f"qkdlink transcript v1|link-1|{CHECKPOINT['session']}|1"
        assert CHECKPOINT["heading"] == heading
        assert hashlib.sha256(transcript()).hexdigest() == CHECKPOINT["SHA-256 of the transcript"]

    def test_what_is_signed_is_made_as_described(self):
        parts = [
            b"qkdlink v1 signature\0",
            b"qkdlink checkpoint signature v1\0",
            bytes.fromhex(CHECKPOINT["fingerprint of Alice"]),
            bytes.fromhex(CHECKPOINT["fingerprint of Bob"]),
            b"\1",
            b"\0",
            bytes.fromhex(CHECKPOINT["SHA-256 of the transcript"]),
        ]
        assert [len(part) for part in parts] == [21, 32, 32, 32, 1, 1, 32]
        assert b"".join(parts).hex() == CHECKPOINT["signed by Bob at position 0"]

    def test_a_permutation_is_made_as_described(self):
        words = self.key_stream(0, 8)
        order = list(range(8))
        for last in range(7, 0, -1):
            chosen = (words[last] // 2**32) * (last + 1) // 2**32
            order[last], order[chosen] = order[chosen], order[last]
        assert DISTILLATION["permutation of 8 words, pass 0"] == ", ".join(map(str, order))
        turns = [word % 4 for word in words]
        assert DISTILLATION["turns of 8 words of 4 lanes, pass 0"] == ", ".join(map(str, turns))

    def test_weights_of_a_check_are_made_as_described(self):
        [key] = self.key_stream(3, 1)
        weights = []
        for word in range(2):
            x = (key + (word + 1) * 0x9E3779B97F4A7C15) % 2**64
            x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
            x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
            weights.append(x ^ (x >> 31))
        assert DISTILLATION["weights of 2 words, check 0"] == ", ".join(map(str, weights))

    def key_stream(self, index: int, count: int) -> tuple[int, ...]:
        seed, counter = bytes.fromhex(DISTILLATION["shuffle seed"]), (index * 2**64).to_bytes(16)
        stream = Cipher(algorithms.AES(seed), modes.CTR(counter)).encryptor().update(bytes(8 * count))
        return struct.unpack(f"<{count}Q", stream)

    def test_a_verification_tag_is_made_as_described(self):
        key, seed = bits_of(DISTILLATION["key"]), bytes.fromhex(DISTILLATION["verification seed"])
        pieces = -(-len(key) // 120)
        tag_bits = next(
            t for t in range(1, 127) if Fraction(pieces, 2**127) + Fraction(1, 2**t) <= Fraction(1e-15)
        )
        assert int(DISTILLATION["tag bits for eps_cor 1e-15"]) == tag_bits == 50
        assert len(seed) == 16 + -(-(126 + tag_bits) // 8)
        prime = 2**127 - 1
        point = int.from_bytes(seed[:16]) % 2**127 % prime
        data = int(DISTILLATION["key"], 2).to_bytes(len(key) // 8)
        value = 0
        for start in range(0, len(data), 15):
            value = (value * point + int.from_bytes(data[start : start + 15])) % prime
        matrix = int.from_bytes(seed[16:])
        tag = [((matrix >> row) & value).bit_count() % 2 for row in range(tag_bits)]
        packed = int("".join(map(str, tag)).ljust(56, "0"), 2).to_bytes(7)
        assert DISTILLATION["verification tag"] == packed.hex()

    def test_the_toeplitz_matrix_stands_as_described(self):
        key, seed = bits_of(DISTILLATION["key"]), bits_of(DISTILLATION["Toeplitz seed"])
        n, length = len(key), 5
        assert len(seed) == n + length - 1
        hashed = [sum(seed[i - j + n - 1] & key[j] for j in range(n)) % 2 for i in range(length)]
        assert bits_of(DISTILLATION["Toeplitz hash of 5 bits"]) == hashed

    def test_block_sizes_and_budget_are_those_of_the_text(self):
        n, q = 100_000, 0.01
        lanes = max(2**power for power in range(7) if 4096 * 2**power <= n)
        words = ceil(n / lanes)
        assert DISTILLATION["lanes and words for 100000 bits"] == f"{lanes}, {words}"
        first = 2 ** floor(log2(1.24 / q))
        sizes = [first, 2 ** floor(log2(4.8 / (first * q**2))), 2 ** ceil(log2(words))]
        assert DISTILLATION["block sizes for 100000 bits at 0.01"] == ", ".join(map(str, sizes))
        x = 3 * n * max(q, 1e-4)
        rate = min((x + 7 * sqrt(x) + 20) / n, 0.5)
        entropy = -rate * log2(rate) - (1 - rate) * log2(1 - rate)
        assert DISTILLATION["parity budget for 100000 bits at 0.01"] == str(ceil(1.3 * n * entropy + 200))


def hkdf(material: bytes, info: str) -> bytes:
    """RFC 5869 with SHA-256, no salt, 32 bytes: one round of extraction and one of expansion."""
    extracted = hmac.digest(bytes(32), material, "sha256")
    return hmac.digest(extracted, info.encode() + b"\1", "sha256")


class TestTheKeys:
    def test_the_key_is_named_after_a_block_of_an_earlier_session(self):
        alice, bob = DERIVED["nonces of the earlier session"].split(", ")
        session = hashlib.sha256(f"qkdlink session|link-1|{alice}|{bob}".encode()).hexdigest()[:32]
        assert DERIVED["key id"] == f"{session}/7"
        assert DERIVED["identity"] == f"qkd1:link-1:alice:{session}/7"

    @pytest.mark.parametrize(
        ("name", "field"),
        [
            ("link PSK", "link-1|alice->bob|{key id}|"),
            ("checkpoint key", "{session}|"),
            ("GMAC key", "{session}|"),
            ("bootstrap PSK", "link-1|alice->bob|256|"),
            ("bootstrap tags", "{session}|"),
            ("name of a file", "link-1|"),
            ("proof key", ""),
        ],
    )
    def test_each_key_is_derived_as_described(self, name: str, field: str):
        label = re.search(rf"^    {name} +(qkdlink v1 [a-z -]+)\|", KEYS, re.MULTILINE)
        assert label is not None
        info = f"{label[1]}|{field.format_map(DERIVED)}sha256"
        assert DERIVED[name] == hkdf(bytes.fromhex(DERIVED["material"]), info).hex()

    def test_every_label_of_the_code_stands_on_the_page_with_its_fields_and_an_example(self):
        labels = re.findall(r"^\| `(qkdlink v1 [a-z -]+)` \|", passage(KEYS, "key-labels"), re.MULTILINE)
        lines = re.findall(r"^    (\S.*?)  +(qkdlink v1 [a-z -]+)\|", KEYS, re.MULTILINE)
        assert {label for _, label in lines} == set(labels) == set(Label)
        assert {name for name, _ in lines} <= set(DERIVED)

    def test_a_pending_block_is_claimed_as_described(self):
        example = values(passage(KEYS, "example-claim"))
        *claim, answer = (bytes.fromhex(value) for value in example.values())
        session, number, proof = struct.unpack(">16sQ32s", b"".join(claim))
        assert f"{session.hex()}/{number}" == DERIVED["key id"]
        key, stated = (
            bytes.fromhex(DERIVED["proof key"]),
            f"link-1/{session.hex()}/{number}|{DERIVED['session']}",
        )
        assert proof == hmac.digest(key, f"{stated}|Alice|claim".encode(), "sha256")
        assert answer == hmac.digest(key, f"{stated}|Bob|have".encode(), "sha256")


def transcript() -> bytes:
    """The example's transcript, put together by the text of protocol.md."""
    made = CHECKPOINT["heading"].encode()
    for speaker, frame in entries():
        made += bytes([speaker]) + len(frame).to_bytes(8) + frame
    return made


def entries() -> list[tuple[int, bytes]]:
    """Speakers and frames of the example's transcript: three holdings, then the block's messages."""
    names = ("holdings of Alice, first", "holdings of Bob", "holdings of Alice, second", "frame of Alice")
    speakers = zip((0, 1, 0, 0, 1), (*names, "frame of Bob"), strict=True)
    return [(speaker, bytes.fromhex(CHECKPOINT[name])) for speaker, name in speakers]


def hashed_statement(label: bytes) -> bytes:
    """What is tagged where only a digest of the transcript is: by Bob, at position 0."""
    return label + b"\1\0" + hashlib.sha256(transcript()).digest()


class TestTheTags:
    def test_an_hmac_is_made_as_described(self):
        example = values(passage(KEYS, "example-hmac-checkpoint"))
        assert example["SHA-256 of the transcript"] == CHECKPOINT["SHA-256 of the transcript"]
        assert example["key"] == DERIVED["checkpoint key"]
        statement = hashed_statement(b"qkdlink checkpoint hmac v1\0")
        assert len(statement) == 27 + 2 + 32
        tag = hmac.digest(bytes.fromhex(example["key"]), statement, "sha256")
        assert example["tag of Bob at position 0"] == tag.hex()

    def test_a_gmac_is_made_as_described(self):
        example = values(passage(KEYS, "example-gmac-checkpoint"))
        assert example["key"] == DERIVED["GMAC key"]
        nonce = (1).to_bytes(8) + b"\1\0" + bytes(2)
        tag = gmac_by_hand(bytes.fromhex(example["key"]), nonce, transcript() + b"\1\0")
        assert example["tag of Bob at position 0"] == tag.hex()

    def test_wegman_carter_tags_are_made_as_described(self):
        example = values(passage(KEYS, "example-wegman-carter-checkpoints"))
        first, second = (
            bytes.fromhex(example[f"unit {DERIVED['key id']}/tags-bob-to-alice/{unit}"]) for unit in (0, 1)
        )
        for position, pad in enumerate((first[16:], second[:16], second[16:])):
            tag = poly1305_by_hand(first[:16], pad, transcript() + bytes([1, position]))
            assert example[f"tag of Bob at position {position}"] == tag.hex()

    def test_an_ed25519_signature_is_made_as_described(self):
        example = values(passage(KEYS, "example-signed-checkpoint"))
        statement = hashed_statement(b"qkdlink checkpoint pinned signature v1\0")
        assert example["signed by Bob at position 0"] == statement.hex()
        public, signature = ed25519_by_hand(bytes.fromhex(DERIVED["material"]), statement)
        assert example["private key, or its seed"] == DERIVED["material"]
        assert example["Ed25519 public key"] == public.hex()
        assert example["Ed25519 signature"] == signature.hex()

    def test_an_ml_dsa_signature_is_over_the_same_statement(self):
        """The key is made and the signature checked by the library, which tests itself against FIPS 204."""
        example = values(passage(KEYS, "example-signed-checkpoint"))
        seed = bytes.fromhex(example["private key, or its seed"])
        public = MLDSA65PrivateKey.from_seed_bytes(seed).public_key()
        assert int(example["ML-DSA-65 public key's length"]) == len(public.public_bytes_raw())
        digest = hashlib.sha256(public.public_bytes_raw()).hexdigest()
        assert example["ML-DSA-65 public key's SHA-256"] == digest
        made = Transcript(CHECKPOINT["heading"].encode())
        for speaker, frame in entries():
            made.append(speaker, frame)
        tag = asyncio.run(ml_dsa_65(seed, public.public_bytes_raw()).tag(1, 0, made))
        assert len(tag.value) == 3309
        public.verify(tag.value, bytes.fromhex(example["signed by Bob at position 0"]))

    def test_the_polynomials_by_hand_agree_with_the_published_examples(self):
        # RFC 8439, 2.5.2; McGrew and Viega, "The Galois/Counter Mode of Operation", test case 13; the library
        r = bytes.fromhex("85d6be7857556d337f4452fe42d506a8")
        s = bytes.fromhex("0103808afb0db2fd4abff6af4149f51b")
        tag = poly1305_by_hand(r, s, b"Cryptographic Forum Research Group")
        assert tag.hex() == "a8061dc1305136c6c22b8baf0c0127a9"
        assert gmac_by_hand(bytes(32), bytes(12), b"").hex() == "530f8afbc74536b9a963b4f1c4cb738b"
        key, nonce, data = bytes(range(32)), bytes(range(12)), bytes(range(37))
        assert gmac_by_hand(key, nonce, data) == AESGCM(key).encrypt(nonce, b"", data)

    def test_the_curve_by_hand_agrees_with_the_published_example(self):
        # RFC 8032, 7.1, test 2
        secret = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
        public, signature = ed25519_by_hand(secret, b"\x72")
        assert public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        assert signature.hex().startswith("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da")


def poly1305_by_hand(r: bytes, s: bytes, message: bytes) -> bytes:
    """Poly1305 with integers."""
    point = int.from_bytes(r, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    value = 0
    for start in range(0, len(message), 16):
        piece = int.from_bytes(message[start : start + 16] + b"\1", "little")
        value = (value + piece) * point % (2**130 - 5)
    return ((value + int.from_bytes(s, "little")) % 2**128).to_bytes(16, "little")


def gmac_by_hand(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """GMAC from single blocks of AES, with polynomials over two elements as integers, highest bit first."""
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - GCM is made of single blocks
    point, mask = (int.from_bytes(aes.update(block)) for block in (bytes(16), nonce + b"\0\0\0\1"))
    padded = data + bytes(-len(data) % 16) + (8 * len(data)).to_bytes(8) + bytes(8)
    value = 0
    for start in range(0, len(padded), 16):
        value = times(value ^ int.from_bytes(padded[start : start + 16]), point)
    return (value ^ mask).to_bytes(16)


def times(one: int, other: int) -> int:
    """Multiply modulo x^128 + x^7 + x^2 + x + 1; the highest bit is the coefficient of 1 (SP 800-38D, 6.3)."""
    product = 0
    for bit in range(128):
        if one >> (127 - bit) & 1:
            product ^= other
        other = other >> 1 ^ (0xE1 << 120 if other & 1 else 0)
    return product


PRIME, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
CURVE = -121665 * pow(121666, -1, PRIME) % PRIME
BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)
type Point = tuple[int, int]


def ed25519_by_hand(secret: bytes, message: bytes) -> tuple[bytes, bytes]:
    """Public key and signature by RFC 8032, 5.1.5 and 5.1.6, with affine points."""
    hashed = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(hashed[:32], "little") & (2**254 - 8) | 2**254
    public = encoded(multiple(scalar, BASE))
    nonce = int.from_bytes(hashlib.sha512(hashed[32:] + message).digest(), "little") % ORDER
    commitment = encoded(multiple(nonce, BASE))
    challenge = int.from_bytes(hashlib.sha512(commitment + public + message).digest(), "little")
    return public, commitment + ((nonce + challenge * scalar) % ORDER).to_bytes(32, "little")


def added(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = CURVE * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, PRIME)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, PRIME)
    return x % PRIME, y % PRIME


def multiple(factor: int, point: Point) -> Point:
    total = (0, 1)
    while factor:
        total = added(total, point) if factor & 1 else total
        point, factor = added(point, point), factor >> 1
    return total


def encoded(point: Point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


class TestTheCut:
    def test_the_lengths_of_the_parts_are_those_of_the_text(self):
        rows = [line.strip("| ").split(" | ") for line in passage(KEYS, "cut-rule").splitlines()]
        assert len(rows[0]) > 2
        for column, heading in enumerate(rows[0][2:], start=2):
            bits, tags, asked = heading.split(", ")
            given = {row[0].strip("`"): int(row[column]) for row in rows[2:]}
            assert given == cut_by_the_text(
                int(bits.removesuffix(" bits")), int(asked.removesuffix(" asked")), tags=tags == "tags"
            )


def cut_by_the_text(bits: int, asked: int, *, tags: bool) -> dict[str, int]:
    left, parts = bits // 8, {}
    wanted = 64 if tags else 0
    for name, size in (("link-psk", 32), ("tags-alice-to-bob", wanted), ("tags-bob-to-alice", wanted)):
        parts[name] = size if left >= size else 0
        left -= parts[name]
    pairs = min(8 * left, asked) // 512
    parts["reserve-at-alice"] = parts["reserve-at-bob"] = 32 * pairs
    left -= 64 * pairs
    parts["applications-at-alice"], parts["applications-at-bob"] = left // 2, left - left // 2
    return {name: 8 * length for name, length in parts.items()}
