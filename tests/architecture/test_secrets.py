"""Secrets have redacted reprs, whichever object holds them, and however deep."""

import importlib
import pkgutil
import re
from contextlib import closing
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

import qkdlink
from qkdlink.common.authentication.gmac import Gmac
from qkdlink.common.authentication.hmac_sha256 import HmacSha256
from qkdlink.common.authentication.scheme import Tag
from qkdlink.common.authentication.wegman_carter import Unit, _Direction
from qkdlink.common.distillation import stages
from qkdlink.common.distillation.stages import ReconciledKey, SecretKey, SiftedKey, VerifiedKey
from qkdlink.common.keys.identifiers import FIRST_SESSION, BlockId
from qkdlink.common.node.launcher_pipe import LauncherPipe
from qkdlink.common.node.vault import Vault
from qkdlink.common.optics.detector import Receiver
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.photon_memory import QuantumMemory
from qkdlink.common.optics.presets import preset
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.records import DetectionRecord, PreparationRecord
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.optics.side_light import SideLight
from qkdlink.common.optics.source import PulseSource, Source
from qkdlink.common.protocol.roles import Role
from qkdlink.common.randomness import Choice, ChoiceStream, Nature, Randomness
from qkdlink.common.store.key_store import KeyStore
from qkdlink.common.store.owner import StoreOwner
from qkdlink.common.store.sealing import StoreSeal
from qkdlink.common.trust.preshared import PresharedSecret
from qkdlink.eve.notebook import BlockNotes, Knowledge, MeasuredPage
from qkdlink.eve.store_and_forge import Learnt
from tests.support.samples import SAMPLES
from tests.support.schemes import ed25519_schemes, signature_schemes

BITS = np.tile(np.array([1, 0, 1, 1, 0, 0, 1, 0], np.uint8), 8)
PACKED = np.packbits(BITS).tobytes()
CLASSES = np.zeros(len(BITS), np.uint8)
SEED = 918_273_645
SEEDED = Randomness("alice", SEED)


def _prepared() -> PreparationRecord:
    record = PreparationRecord(len(BITS), 1)
    record.append(BITS)
    return record


def _direction() -> _Direction:
    direction = _Direction()
    direction.add("session/1/tags-alice-to-bob/0", PACKED * 4)
    return direction


def _notes() -> BlockNotes:
    notes = BlockNotes()
    notes.add(MeasuredPage(0, BITS))
    return notes


SECRETS = {
    "SiftedKey": SiftedKey(BITS, CLASSES, BITS, CLASSES, 1),
    "ReconciledKey": ReconciledKey(BITS, (0,), 5),
    "VerifiedKey": VerifiedKey(BITS, (0,), 5),
    "SecretKey": SecretKey(PACKED, 64),
    "PreparationRecord": _prepared(),
    "DetectionRecord": DetectionRecord(np.arange(len(BITS), dtype=np.uint32), CLASSES, BITS, 0),
    "PulseTrain": PulseTrain(BITS, Fibre(0.0, 0.2, 0.0), 0),
    "PulseSource": PulseSource(
        Source.single_photon(0.5), ChoiceStream(PACKED * 4), SEEDED.nature(Nature.SOURCE, 1)
    ),
    "Receiver": Receiver(
        preset("metropolitan").detector, 0.5, ChoiceStream(PACKED * 4), SEEDED.nature(Nature.DETECTORS, 1)
    ),
    "LightSeal": LightSeal(PACKED * 4, "alice"),
    "ChoiceStream": SEEDED.choices(Choice.PULSES, 1),
    "Randomness": SEEDED,
    "Learnt": Learnt(np.arange(len(BITS), dtype=np.uint32), BITS, CLASSES),
    "SideLight": SideLight(BITS.copy()),
    "QuantumMemory": QuantumMemory(np.arange(len(BITS), dtype=np.uint32), BITS, np.uint64(1)),
    "MeasuredPage": MeasuredPage(0, BITS),
    "BlockNotes": _notes(),
    "Knowledge": Knowledge(BITS, np.ones(len(BITS))),
    "StoreSeal": StoreSeal(PACKED * 4),
    "PresharedSecret": PresharedSecret(PACKED * 4),
    "HmacSha256": HmacSha256(PACKED * 4),
    "LauncherPipe": LauncherPipe(None),
    "CertificateSignature": signature_schemes()[0],
    "PinnedSignature": ed25519_schemes()[0],
    "Gmac": Gmac(PACKED * 4),
    "GmacBlock": Gmac(PACKED * 4).of_block(1),
    "Tag": Tag(PACKED * 4),
    "Unit": Unit("session/1/tags-alice-to-bob/0", PACKED * 4),
    "_Direction": _direction(),
} | {kind.__name__: message for kind, message in SAMPLES.items()}


def reveals(shown: str) -> bool:
    """Whether a text holds the secret in any of the ways in which Python prints one."""
    spellings = (
        "1, 0, 1, 1, 0",
        "1 0 1 1 0",
        "10110010",
        PACKED.hex()[:8],
        repr(PACKED)[2:14],
        str(int.from_bytes(PACKED)),
        str(SEED),
    )
    return any(spelling in shown for spelling in spellings)


@pytest.mark.parametrize("name", SECRETS)
def test_an_object_that_holds_a_secret_does_not_print_it(name: str):
    secret = SECRETS[name]
    assert type(secret).__name__ == name
    for shown in (repr(secret), str(secret), f"{secret}", repr([secret]), repr({"key": secret})):
        assert not reveals(shown)


async def test_neither_store_nor_vault_prints_what_it_keeps(tmp_path: Path):
    key = SecretKey(PACKED * 8, 512)
    with closing(KeyStore.open(tmp_path, StoreOwner("link", "alice", reproducible=False))) as store:
        vault = Vault(store, "link", Role.ALICE, lambda *_, **__: None)
        await vault.hold(BlockId("link", FIRST_SESSION, 1), key, 100)
        assert not reveals(repr(store))
        assert not reveals(repr(vault))


def test_the_spellings_of_a_secret_are_recognised_where_nothing_is_redacted():
    assert reveals(repr(BITS.tolist()))
    assert reveals(repr(BITS))
    assert reveals(repr(PACKED))
    assert reveals(PACKED.hex())
    assert reveals(repr({"seed": SEED}))


def test_every_stage_of_a_key_that_holds_bits_is_looked_at_here():
    holders = {
        kind.__name__
        for kind in vars(stages).values()
        if isinstance(kind, type)
        and is_dataclass(kind)
        and any("Bits" in str(field.type) or field.type in (bytes, "bytes") for field in fields(kind))
    }
    assert holders == {"SiftedKey", "ReconciledKey", "VerifiedKey", "SecretKey"}
    assert holders <= set(SECRETS)


PUBLIC = {
    "qkdlink.eve.flight.Flight.flying": "probabilities of photons, and no bit",
    "qkdlink.eve.flight.Flight.lost": "likewise",
    "qkdlink.eve.listening.blocks.OverheardBlock.shuffle_seed": "was said aloud",
    "qkdlink.lab.light.undetermined.Disclosed.shuffle_seed": "was said aloud",
    "qkdlink.eve.listening.hellos.ClientHello.random": "goes over the line in the clear",
    "qkdlink.eve.listening.records.Record.header": "five bytes of a TLS record, in the clear",
    "qkdlink.common.authentication.certificate_signature.CertificateSignature.fingerprints": "of certificates",
    "qkdlink.common.authentication.certificate_signature.CertificateSignature.sign": "a function",
    "qkdlink.common.authentication.certificate_signature.CertificateSignature.verify_peer": "a function",
    "qkdlink.common.distillation.reconciliation.parity.Questions.indices": "are said aloud",
    "qkdlink.common.protocol.conversation.Place.holdings": "a digest that both transcripts have",
    "qkdlink.common.protocol.pinning.Pinning.ours": "a public key",
    "qkdlink.common.protocol.pinning.Pinning.pinned": "a public key",
    "qkdlink.common.protocol.pinning.Pinning.theirs": "a public key",
}
"""Fields of bytes or arrays that may be printed, each with the reason."""
_MATERIAL = re.compile(r"\b(bytes|bytearray|memoryview|ndarray|NDArray|Bits)\b")


def _printed_material() -> set[str]:
    """Every field of bytes or arrays, of every dataclass and model, that its representation shows."""
    found = set()
    for module in pkgutil.walk_packages(qkdlink.__path__, "qkdlink."):
        if not module.name.endswith("__main__") and not module.name.startswith("qkdlink.benchmarks"):
            for kind in vars(importlib.import_module(module.name)).values():
                if isinstance(kind, type) and kind.__module__ == module.name:
                    found |= {f"{module.name}.{kind.__name__}.{name}" for name in _shown(kind)}
    return found


def _shown(kind: type) -> list[str]:
    """The names of such fields, if Python or pydantic writes the representation."""
    if is_dataclass(kind) and hasattr(kind.__repr__, "__wrapped__"):
        shown = {each.name: str(each.type) for each in fields(kind) if each.repr}
    elif issubclass(kind, BaseModel) and kind.__repr__ is BaseModel.__repr__:
        shown = {name: str(each.annotation) for name, each in kind.model_fields.items() if each.repr}
    else:
        return []
    return [name for name, told in shown.items() if _MATERIAL.search(told)]


def test_no_dataclass_or_model_prints_bytes_or_arrays_unless_they_are_public():
    assert _printed_material() == set(PUBLIC)
