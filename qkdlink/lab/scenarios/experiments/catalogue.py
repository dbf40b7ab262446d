"""The explicit list of experiments, by the name that a scenario calls them."""

from collections.abc import Mapping

from pydantic import ValidationError

from qkdlink.common.errors import ConfigurationError
from qkdlink.common.value_faults import value_fault
from qkdlink.lab.scenarios.experiments.bootstrap import Bootstrap
from qkdlink.lab.scenarios.experiments.denial import Denial
from qkdlink.lab.scenarios.experiments.endpoint import Endpoint
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.experiments.in_the_middle import InTheMiddle
from qkdlink.lab.scenarios.experiments.later import CombinedLater, KeysLater, UserTrafficLater
from qkdlink.lab.scenarios.experiments.light import Light
from qkdlink.lab.scenarios.experiments.listening import Listening
from qkdlink.lab.scenarios.experiments.portion import Portion
from qkdlink.lab.scenarios.experiments.tampering import Tampering
from qkdlink.lab.scenarios.experiments.unheeded import Unheeded
from qkdlink.lab.scenarios.experiments.unplugged import Unplugged

EXPERIMENTS: dict[str, type[Experiment]] = {
    "bootstrap": Bootstrap,
    "in-the-middle": InTheMiddle,
    "user-traffic-later": UserTrafficLater,
    "keys-later": KeysLater,
    "combined-later": CombinedLater,
    "listening": Listening,
    "endpoint": Endpoint,
    "portion": Portion,
    "denial": Denial,
    "light": Light,
    "unheeded": Unheeded,
    "tampering": Tampering,
    "unplugged": Unplugged,
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
        reason = value_fault(first, key)
        raise ConfigurationError(f"The experiment '{name}' cannot have {key}: {reason}.") from None
