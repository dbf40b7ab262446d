import copy
import pickle  # noqa: TID251 - to see that light refuses it
import re
from pathlib import Path

import numpy as np
import pytest

from qkdlink.common.errors import LocalProtocolError
from qkdlink.common.optics.detector import DetectorSettings, Receiver
from qkdlink.common.optics.fibre import Fibre
from qkdlink.common.optics.pulses import PulseTrain
from qkdlink.common.optics.seal import LightSeal
from qkdlink.common.randomness import ChoiceStream

FIBRE = Fibre(10, 0.2, 0.01)
HOUSE = Path(__file__).parents[3]


def light() -> PulseTrain:
    return PulseTrain(np.arange(200, dtype=np.uint8), FIBRE, 40)


def test_a_pulse_train_shows_its_length_its_place_and_its_medium_and_nothing_else():
    train = light()
    assert (len(train), train.first_pulse, train.medium) == (200, 40, FIBRE)
    assert repr(train) == str(train) == "PulseTrain(200 pulses from 40, unseen)"
    shown = {name for name in dir(train) if not name.startswith("_")}
    assert shown == {"absorb", "first_pulse", "is_dark", "medium", "side"}
    assert train.side is None


def test_light_cannot_be_copied():
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(LocalProtocolError, match="light cannot be copied"):
            attempt(light())


def test_light_is_measured_once():
    train = PulseTrain(np.zeros(10, np.uint8), FIBRE, 0)
    settings = DetectorSettings(1.0, 0.0, 0.0, 0.0, 1e9)
    assert not train.is_dark
    Receiver(settings, 0.5, ChoiceStream(bytes(32)), np.random.default_rng(1)).detect(train)
    assert train.is_dark
    with pytest.raises(LocalProtocolError, match="measured or sealed already"):
        Receiver(settings, 0.5, ChoiceStream(bytes(32)), np.random.default_rng(1)).detect(train)


def test_light_is_sealed_once():
    train, seal = light(), LightSeal(bytes(32), "alice")
    seal.seal(train, b"")
    with pytest.raises(LocalProtocolError, match="measured or sealed already"):
        seal.seal(train, b"")


def test_absorbed_states_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        light().absorb()[0] = 1


def test_only_the_optics_floor_opens_light():
    packages = ("alice", "bob", "eve", "common", "qkdlink")
    sources = [path for package in packages for path in (HOUSE / package).rglob("*.py")]
    openers = {path.parent for path in sources if re.search(r"\.absorb\(", path.read_text("utf-8"))}
    assert openers == {HOUSE / "common" / "optics"}
