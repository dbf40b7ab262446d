"""What a process has cost so far, as Linux counts it: processor time, and the most memory it ever held."""

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_USER_TICKS, _SYSTEM_TICKS = 11, 12
"""Places in /proc/PID/stat after the name, which may hold spaces. Source: proc_pid_stat(5)."""


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """A reading, to be subtracted from a later one."""

    cpu_seconds: float
    """In all threads, in user and in system mode, since the process began."""
    peak_mib: float
    """Peak of its resident memory; shared pages count."""
    resident_mib: float
    """Its resident memory now."""


def cost_of(pid: int) -> ProcessCost | None:
    """Read what a process has cost; None where there is no /proc, or no such process any more."""
    try:
        after_name = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in (_PROC / str(pid) / "status").read_text().splitlines())
        ticks = int(after_name[_USER_TICKS]) + int(after_name[_SYSTEM_TICKS])
        peak_mib, resident_mib = (int(status[name].split()[0]) / 1024 for name in ("VmHWM", "VmRSS"))
        return ProcessCost(ticks / os.sysconf("SC_CLK_TCK"), peak_mib, resident_mib)
    except (OSError, KeyError):  # ended but not yet waited for, it holds no memory
        return None


def only_child_of(pid: int) -> int | None:
    """Return the process that a guard guards (`qkdlink.deployment.processes.guard`); None where Linux does not tell, or
    there is none."""
    try:
        children = (_PROC / str(pid) / "task" / str(pid) / "children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if len(children) == 1 else None
