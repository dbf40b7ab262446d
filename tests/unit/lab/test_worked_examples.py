"""The worked examples of the documents, computed again from what the text says, without the code that wrote them."""

import hashlib
import hmac
import json
import re
import struct
from fractions import Fraction
from math import ceil, floor, log2, sqrt
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.optics.seal import LightSeal
from common.wire.framing import decode
from common.wire.messages import DetectionAnnouncement
from common.wire.pulse_frames import Receipt, split

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


def packed_bits(data: bytes, count: int) -> list[int]:
    return [data[index // 8] >> (7 - index % 8) & 1 for index in range(count)]


class TestTheCheckPoints:
    def test_a_session_is_named_by_link_and_nonces(self):
        text = f"qkdlink session|link-1|{CHECKPOINT['nonce of Alice']}|{CHECKPOINT['nonce of Bob']}"
        assert CHECKPOINT["session"] == hashlib.sha256(text.encode()).hexdigest()[:32]

    def test_the_transcript_is_made_as_described(self):
        heading = f"qkdlink transcript v1|link-1|{CHECKPOINT['session']}|1"
        assert CHECKPOINT["heading"] == heading
        transcript = heading.encode()
        for speaker, name in enumerate(("Alice", "Bob")):
            frame = bytes.fromhex(CHECKPOINT[f"frame of {name}"])
            transcript += bytes([speaker]) + len(frame).to_bytes(8) + frame
        assert hashlib.sha256(transcript).hexdigest() == CHECKPOINT["SHA-256 of the transcript"]

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
            ("proof key", ""),
        ],
    )
    def test_each_key_is_derived_as_described(self, name: str, field: str):
        label = re.search(rf"^    {name} +(qkdlink v1 [a-z ]+)\|", KEYS, re.MULTILINE)
        assert label is not None
        info = f"{label[1]}|{field.format_map(DERIVED)}sha256"
        assert DERIVED[name] == hkdf(bytes.fromhex(DERIVED["material"]), info).hex()

    def test_a_keyed_checkpoint_is_tagged_as_described(self):
        example = values(passage(KEYS, "example-keyed-checkpoint"))
        assert example["SHA-256 of the transcript"] == CHECKPOINT["SHA-256 of the transcript"]
        assert example["key"] == DERIVED["checkpoint key"]
        label, place = b"qkdlink checkpoint hmac v1\0", b"\1\0"
        assert len(label) == 27
        statement = label + place + bytes.fromhex(example["SHA-256 of the transcript"])
        tag = hmac.digest(bytes.fromhex(example["key"]), statement, "sha256")
        assert example["tag of Bob at position 0"] == tag.hex()

    def test_a_pending_block_is_claimed_as_described(self):
        example = values(passage(KEYS, "example-claim"))
        claim = b"".join(bytes.fromhex(value) for value in example.values())
        session, number, proof = struct.unpack(">16sQ32s", claim)
        assert (len(claim), f"{session.hex()}/{number}") == (56, DERIVED["key id"])
        statement = f"link-1/{session.hex()}/{number}|{DERIVED['session']}|Alice"
        assert proof == hmac.digest(bytes.fromhex(DERIVED["proof key"]), statement.encode(), "sha256")


class TestTheCut:
    def test_the_lengths_of_the_parts_are_those_of_the_text(self):
        rows = [line.strip("| ").split(" | ") for line in passage(PROTOCOL, "cut-rule").splitlines()]
        for column, heading in enumerate(rows[0][2:], start=2):
            kind, bits = heading.removesuffix(" bits").split(", ")
            given = {row[0].strip("`"): int(row[column]) for row in rows[2:]}
            assert given == cut_by_the_text(int(bits), bootstrap=kind == "bootstrap")


def cut_by_the_text(bits: int, *, bootstrap: bool) -> dict[str, int]:
    left, parts = bits // 8, {}
    for name, wanted in (("link-psk", 32), ("tags-alice-to-bob", 64), ("tags-bob-to-alice", 64)):
        parts[name] = wanted if left >= wanted else 0
        left -= parts[name]
    reserve = min(left, 65536 // 8) if bootstrap else left // 16
    parts["reserve-at-alice"], parts["reserve-at-bob"] = reserve // 2, reserve - reserve // 2
    left -= reserve
    parts["applications-at-alice"], parts["applications-at-bob"] = left // 2, left - left // 2
    return {name: 8 * length for name, length in parts.items()}
