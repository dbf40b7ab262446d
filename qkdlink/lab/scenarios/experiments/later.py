"""Record now, decrypt later: what a recording of every wire opens once time has given Eve more.

All scenarios of a run look at the same recording, which is made for the first one that asks.
"""

import asyncio
import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from qkdlink.lab.recordings.decrypt_later import Hand, combined_is_safe_while_either_holds, decrypt_later
from qkdlink.lab.recordings.recording import make_recording
from qkdlink.lab.scenarios.experiments.experiment import Experiment
from qkdlink.lab.scenarios.verdicts import Evidence, Verdict
from qkdlink.lab.traffic.key_exchanges import KeySource


class UserTrafficLater(Experiment):
    """User traffic under a key of some source."""

    source: KeySource
    hand: Hand = Hand.QUANTUM

    def observe(self) -> Evidence:
        """Open the recording with the hand."""
        return {"recording": _recording()[1], **_opened(self.hand)["user_traffic"][self.source]}

    def judge(self, evidence: Evidence) -> str:
        """Whether she reads the words."""
        return Verdict.OPENED if evidence["opened_bytes"] else Verdict.NOT_OPENED


class KeysLater(Experiment):
    """The keys that the link itself made."""

    hand: Hand = Hand.QUANTUM

    def observe(self) -> Evidence:
        """Open the recording with the hand."""
        found = _opened(self.hand)
        return {"recording": _recording()[1], "link": found["link"], "blocks": found["blocks"]}

    def judge(self, evidence: Evidence) -> str:
        """Every key of a block whose every word she has read is undetermined for her."""
        read = [line for line in evidence["link"] if line["opened_bytes"]]
        if not read or not evidence["blocks"]:
            return Verdict.UNCLEAR
        safe = all(
            block["undetermined_bits"] == block["secret_bits"] > 0 and block["undetermined"]
            for block in evidence["blocks"]
        )
        return Verdict.KEY_IS_UNDETERMINED if safe else Verdict.EVE_KNOWS_OF_THE_KEY


class CombinedLater(Experiment):
    """User traffic under a key that is derived from one of QKD and one of ML-KEM together."""

    def observe(self) -> Evidence:
        """Suppose in turn that none, either and both of them are broken."""
        return {"opened_if_broken": combined_is_safe_while_either_holds(_recording()[0])}

    def judge(self, evidence: Evidence) -> str:
        """It opens if both are broken, and in no other case."""
        opened = [case for case, read in evidence["opened_if_broken"].items() if read]
        if not opened:
            return Verdict.NOT_OPENED
        return Verdict.SAFE_WHILE_ONE_HOLDS if opened == ["both"] else Verdict.OPENED


@lru_cache(maxsize=1)
def _recording() -> tuple[Path, Evidence]:
    """Make the recording, which is there until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="qkdlink-recording-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder, asyncio.run(make_recording(folder))


@lru_cache(maxsize=2)
def _opened(hand: Hand) -> Evidence:
    return decrypt_later(_recording()[0], hand)
