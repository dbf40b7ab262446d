"""A scenario: a claim, the question that tests it, the set-up, and what should come of it; one TOML file each."""

import time
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qkdlink.common.errors import ConfigurationError, QkdlinkError
from qkdlink.common.sentences import sentence
from qkdlink.common.text_files import read_text
from qkdlink.common.units import unit_in_toml
from qkdlink.common.value_faults import value_fault
from qkdlink.lab.scenarios.experiments.catalogue import experiment_of
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Outcome, Verdict

_FOLDER = Path(__file__).parent

type Sentence = Annotated[str, Field(min_length=1, max_length=400)]


class Scenario(BaseModel):
    """What one file says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
    """That of the file."""
    claim: Sentence
    """What is claimed: by the seed article, or by the countermeasure that is tried."""
    question: Sentence
    set_up: Sentence
    experiment: str
    """One of `qkdlink.lab.scenarios.experiments.catalogue`."""
    expected: str
    """The verdict that would bear the claim out. It is compared with the computed one, and with nothing else."""
    parameters: dict[str, Any] = {}

    @cached_property
    def set_up_experiment(self) -> Experiment:
        """The experiment, set up as the file says; ConfigurationError if it cannot be."""
        return experiment_of(self.experiment, self.parameters)

    def run(self) -> Outcome:
        """Do the experiment, and compare. An experiment that fails to come to an end has an unclear verdict."""
        started = time.monotonic()
        experiment = self.set_up_experiment
        try:
            evidence = experiment.observe()
            verdict = str(experiment.judge(evidence))
        except (QkdlinkError, ExceptionGroup) as error:
            evidence, verdict = {"failed": sentence(error)}, str(Verdict.UNCLEAR)
        return Outcome(self.name, self.claim, verdict, self.expected, evidence, time.monotonic() - started)


def scenarios(folder: Path = _FOLDER) -> tuple[Scenario, ...]:
    """Read every scenario, in the order of their names. Raises ConfigurationError for a file that is none."""
    return tuple(read(path) for path in sorted(folder.glob("*.toml")))


def scenario(name: str, folder: Path = _FOLDER) -> Scenario:
    """Read one scenario. Raises ConfigurationError, with those there are, if there is no such one."""
    names = [path.stem for path in sorted(folder.glob("*.toml"))]
    if name not in names:
        raise ConfigurationError(f"There is no scenario '{name}'; there are {', '.join(names)}.")
    return read(folder / f"{name}.toml")


def read(path: Path) -> Scenario:
    """Read a file. Raises ConfigurationError, in one sentence, if it is no scenario."""
    try:
        text = read_text(path)
    except OSError as error:
        raise ConfigurationError(f"The scenario {path} cannot be read: {error.strerror}.") from error
    try:
        return Scenario.model_validate({"name": path.stem, **tomllib.loads(text)})
    except tomllib.TOMLDecodeError as error:
        reason = unit_in_toml(text) or str(error)
        raise ConfigurationError(f"The scenario {path} is not TOML: {reason}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"The scenario {path} is none: {key}: {value_fault(first, key)}.") from None
