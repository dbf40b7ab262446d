"""What an experiment is: a frozen model of its set-up, which observes, and judges by what it has observed alone."""

from abc import ABC, abstractmethod

from pydantic import BaseModel, ConfigDict

from qkdlink.lab.scenarios.verdicts import Evidence


class Experiment(BaseModel, ABC):
    """One kind of experiment; its fields are what a scenario can set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @abstractmethod
    def observe(self) -> Evidence:
        """Do it, and return what was seen."""

    @abstractmethod
    def judge(self, evidence: Evidence) -> str:
        """Compute the verdict from the evidence."""
