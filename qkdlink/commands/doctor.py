"""`qkdlink doctor`: what stands between a node and its link, by the checks of `qkdlink.deployment.diagnosis`."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from qkdlink.alice.greeting import greet
from qkdlink.alice.settings import AliceSettings
from qkdlink.alice.station import largest_packet
from qkdlink.bob.settings import BobSettings
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.node.settings import NodeSettings, load_settings
from qkdlink.common.protocol.roles import Role
from qkdlink.common.sentences import as_sentence
from qkdlink.common.wire.topics import Topics
from qkdlink.deployment.diagnosis.examination import examine_node
from qkdlink.deployment.diagnosis.findings import Diagnosis, Outcome
from qkdlink.deployment.diagnosis.house import Patient
from qkdlink.deployment.homes.node_folders import NodeFolder, one_node

_KINDS: dict[Role, type[NodeSettings]] = {Role.ALICE: AliceSettings, Role.BOB: BobSettings}


def doctor(config: Path | None, home: Path | None, role: str | None, *, as_json: bool) -> int:
    """Examine the node of a configuration file or a folder, say what stands in its way; return the exit status.

    0 if nothing stands in the way, 1 if something does. ConfigurationError if what was named is not that of one node.
    """
    patient = _patient(_node(config, home), role)
    diagnosis = asyncio.run(examine_node(patient, greet))
    sys.stdout.write(f"{_json(patient, diagnosis) if as_json else _text(patient, diagnosis)}\n")
    return 0 if diagnosis.in_the_way is None else 1


def _node(config: Path | None, home: Path | None) -> NodeFolder:
    if (config is None) == (home is None):
        raise ConfigurationError("Name either the node's --config file or a --home.")
    if home is None:
        return NodeFolder(config or Path())
    return one_node(home, lambda node: node.configuration.exists(), "configuration file")


def _patient(node: NodeFolder, role: str | None) -> Patient:
    config = node.configuration
    chosen = _role(config, role) if node.role is None or role is not None else node.role
    settings = load_settings(_KINDS[chosen], config)
    sends = largest_packet(settings, Topics(settings.link)) if isinstance(settings, AliceSettings) else 0
    return Patient(chosen, settings, config.parent, datetime.now(UTC), sends)


def _role(config: Path, role: str | None) -> Role:
    """Take the role that was asked for; else the one that the node is named after."""
    name = role or _name(config)
    for each in Role:
        if name == each.word:
            return each
    raise ConfigurationError(
        f"Whether {name} is Alice or Bob of its link cannot be told: add --role alice or bob."
    )


def _name(config: Path) -> str:
    for kind in _KINDS.values():
        try:
            return load_settings(kind, config).node
        except ConfigurationError as error:
            refusal = error
    raise refusal


def _json(patient: Patient, diagnosis: Diagnosis) -> str:
    first = diagnosis.in_the_way
    return json.dumps(
        {
            "node": patient.settings.node,
            "role": patient.role.word,
            "obstacle": first and first.obstacle,
            "sentence": first and as_sentence(first.sentence),
            "checks": [
                {"check": name, "outcome": finding.outcome, "sentence": finding.sentence}
                for name, finding in diagnosis.findings
            ],
        }
    )


def _text(patient: Patient, diagnosis: Diagnosis) -> str:
    lines = [f"{name:14}  {finding.outcome:11}  {finding.sentence}" for name, finding in diagnosis.findings]
    first = diagnosis.in_the_way
    if first is None:
        return "\n".join([*lines, "", _all_clear(patient.settings.node, diagnosis)])
    return "\n".join([*lines, "", f"In the way: {first.obstacle}. {as_sentence(first.sentence)}"])


def _all_clear(node: str, diagnosis: Diagnosis) -> str:
    """Say that nothing was found, and what was not looked at: that may still stand in the way."""
    unseen = [name for name, finding in diagnosis.findings if finding.outcome is not Outcome.OK]
    if not unseen:
        return f"Nothing stands in the way of {node}."
    return f"Nothing was found in the way of {node}, but these were not checked: {', '.join(unseen)}."
