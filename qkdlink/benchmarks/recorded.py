"""Figures that others have published, or that their programs gave elsewhere: never measured here, never in a ratio."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recorded:
    """What somebody else's came to per second, in the units of the stage, and whose it was."""

    figure: str
    whose: str


LINK = "link"
RECORDED = {
    "source-channel-detector": Recorded("0.1 M", "SeQUeNCe, slots of its source, run on two cores: at most"),
    "sift": Recorded("60 M", "sifting in hardware, Yuan et al. 2018"),
    "reconcile": Recorded(
        "570 M", "Cascade on a desktop processor, Mao et al. 2021 (cascade-cpp, run on two cores: 4.9 M)"
    ),
    "amplify": Recorded(
        "71 M", "the best of a processor at 2^27 bits, Tang et al. 2019 (hardware, Yuan et al. 2018: 108 M)"
    ),
    LINK: Recorded("13.7 M", "hardware at 2 dB, Yuan et al. 2018 (115.8 M at 10 km, Li et al. 2023)"),
}
"""By stage."""
