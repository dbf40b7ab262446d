"""What the options of a link come to: its parameters, its security, and what Alice is told besides."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from qkdlink.common.distillation.monitors import Monitor
from qkdlink.common.errors import ConfigurationError
from qkdlink.common.keys.allotment import upkeep_bits
from qkdlink.common.optics.presets import preset as preset_named
from qkdlink.common.optics.watchful_receiver import check_switched_off_probability
from qkdlink.common.protocol.parameters import LinkParameters
from qkdlink.common.protocol.variants.catalogue import variant_named
from qkdlink.deployment.homes.link_options import LinkOptions
from qkdlink.deployment.homes.security import Security
from qkdlink.deployment.planning.planner import plan, smallest_block, task_for

_COMFORTABLE_SECRET_BITS = 20_000
_LARGEST_DEFAULT_BLOCK = 500_000_000
"""A block that takes longer than a minute or so is made only for those who ask for it by its size."""


def security_of(options: LinkOptions) -> Security:
    """Return how the link is to be secured, and say if an option has no effect.

    ConfigurationError for an anchor or a scheme that there is not.
    """
    insecure = bool(options.insecure_no_authentication)
    chosen = Security.chosen(options.anchor or "", options.authentication or "", insecure=insecure)
    if insecure and not chosen.trusts_anybody:
        sys.stderr.write(
            f"qkdlink: --insecure-no-authentication has no effect with the anchor {chosen.anchor}.\n"
        )
    return chosen


def rekeying(options: LinkOptions) -> dict[str, int | float]:
    """Return the settings of Alice's that these options give."""
    given = {"rekey_blocks": options.rekey_blocks, "rekey_seconds": options.rekey_seconds}
    return {name: value for name, value in given.items() if value is not None}


def planned(options: LinkOptions, security: Security, *, reproducible: bool = False) -> LinkParameters:
    """Choose intensities and bias, and who watches.

    ConfigurationError, saying what would do, if no key is possible, and for what there is not. What a block has to give
    depends on whether tags cost generated key.
    """
    protocol = None if options.protocol is None else variant_named(options.protocol).name
    task = replace(
        task_for(preset_named(options.preset or ""), options.block_pulses or 1, protocol, options.distance),
        least_secret_bits=upkeep_bits(tags=security.scheme.cuts_tags),
    )
    if options.block_pulses is None:
        block_pulses = smallest_block(task, _COMFORTABLE_SECRET_BITS)
        if block_pulses is not None and block_pulses > _LARGEST_DEFAULT_BLOCK:
            raise ConfigurationError(
                f"{task.fibre.length_km:g} km need blocks of {block_pulses:.1e} pulses: ask for them with"
                f" --block-pulses {block_pulses}, or for a shorter distance."
            )
        task = replace(task, block_pulses=block_pulses or _LARGEST_DEFAULT_BLOCK)
    parameters = plan(task).link_parameters(reproducible=reproducible)
    return watched(parameters, options.without or (), options.random_efficiency or 0.0)


def watched(parameters: LinkParameters, without: Sequence[str], random_efficiency: float) -> LinkParameters:
    """Choose who watches; ConfigurationError for a monitor or a share of gates that there is not."""
    off = set(Monitor) if "all" in without else {_monitor(name) for name in without if name != "all"}
    check_switched_off_probability(random_efficiency)
    return parameters.model_copy(
        update={"monitors_off": tuple(sorted(off)), "switched_off_probability": random_efficiency}
    )


def _monitor(name: str) -> Monitor:
    try:
        return Monitor(name)
    except ValueError:
        known = ", ".join(sorted(Monitor))
        raise ConfigurationError(f"There is no monitor '{name}'; there are {known}, or all.") from None
