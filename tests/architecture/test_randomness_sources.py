"""Two kinds of randomness, never mixed: choices from the operating system, nature from a seed, and who may seed."""

import ast
from pathlib import Path

from qkdlink.alice.settings import AliceSettings
from qkdlink.bob.settings import BobSettings
from qkdlink.common.node.settings import NodeSettings
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.randomness import Choice, Nature
from tests.support.source import files, imports, name, names_used, tree, where

SECRET_CHOICES = {
    ("alice/transmitter.py", "PULSES"),
    ("bob/receiver.py", "MEASUREMENTS"),
    ("bob/steps.py", "RECONCILIATION"),
    ("alice/steps.py", "VERIFICATION"),
    ("alice/steps.py", "AMPLIFICATION"),
}
"""Every secret choice of a block, and the one file of the nodes that draws it."""

PROGRAMS = files("alice", "bob", "eve", "common", "qkdlink/commands", "qkdlink/views", "qkdlink/deployment")
MAKERS = {
    *("default_rng", "Generator", "RandomState", "seed", "SeedSequence"),
    *("PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937"),
}

NATURE = {
    ("alice/transmitter.py", "SOURCE"),
    ("alice/transmitter.py", "REFLECTIONS"),
    ("bob/receiver.py", "DETECTORS"),
}


def drawn(method: str) -> set[tuple[str, str]]:
    """Where the nodes draw from `choices(...)` or `nature(...)`, and for which purpose."""
    return {
        (name(path), node.args[0].attr)
        for path in files("alice", "bob", "common")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and node.args
        and isinstance(node.args[0], ast.Attribute)
    }


def test_every_choice_is_drawn_as_a_choice_in_one_place():
    assert drawn("choices") == SECRET_CHOICES
    assert {purpose for _, purpose in SECRET_CHOICES} == set(Choice.__members__)


def test_only_what_nature_decides_is_drawn_from_nature():
    assert drawn("nature") == NATURE
    assert {purpose for _, purpose in NATURE} == set(Nature.__members__)


def test_no_seedable_generator_is_made_outside_the_one_file_that_may():
    made = where(lambda path: [call for call in _calls(path) if call.rpartition(".")[2] in MAKERS], PROGRAMS)
    assert set(made) == {"common/randomness.py"}
    assert set(made["common/randomness.py"]) == {"np.random.Generator", "np.random.PCG64DXSM"}


def test_numpy_s_random_numbers_are_named_only_as_the_type_of_nature_and_only_by_the_optics():
    named = where(lambda path: {one for one in names_used(path) if one.startswith("np.random.")}, PROGRAMS)
    del named["common/randomness.py"]
    assert all(file.startswith("common/optics/") for file in named)
    assert set().union(*named.values()) == {"np.random.Generator"}


def test_nonces_and_keys_beside_the_streams_come_from_the_operating_system():
    users = where(lambda path: [one for one in imports(path) if one == "secrets"], PROGRAMS)
    known = {
        "common/randomness.py",
        "common/node/dialling.py",
        "common/optics/seal.py",
        "common/store/sealing.py",
    }
    assert known <= set(users)
    assert where(lambda path: [one for one in imports(path) if one.split(".")[0] == "uuid"], PROGRAMS) == {}


def test_a_node_cannot_be_seeded_by_its_settings():
    for settings in (NodeSettings, AliceSettings, BobSettings):
        assert not [field for field in settings.model_fields if "seed" in field]
    assert not [field for field in LinkParameters.model_fields if "seed" in field]


def _calls(path: Path) -> list[str]:
    return [ast.unparse(node.func) for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
