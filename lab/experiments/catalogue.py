"""The explicit list of experiments, by the name that a scenario calls them."""

from collections.abc import Mapping

from pydantic import ValidationError

from common.errors import ConfigurationError
from lab.experiments.experiment import Experiment
from lab.experiments.light import Light

EXPERIMENTS: dict[str, type[Experiment]] = {
    "light": Light,
}


def experiment_of(name: str, parameters: Mapping[str, object]) -> Experiment:
    """Set an experiment up. Raises ConfigurationError, in one sentence, for a name or a parameter it does not know."""
    if name not in EXPERIMENTS:
        raise ConfigurationError(f"There is no experiment '{name}'; there are {', '.join(EXPERIMENTS)}.")
    try:
        return EXPERIMENTS[name].model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"The experiment '{name}' cannot have {key}: {first['msg']}.") from None
