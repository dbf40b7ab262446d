"""A cached kernel is compiled anew when anything changes that was compiled into it, in whatever file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KERNEL = """from qkdlink.common.kernels.compiled import kernel
{imported}

@kernel
def {name}(x):
    return {value}
"""
RUN = "from top import most; print(most(10), sum(most.stats.cache_hits.values()))"


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    stamp = path.stat().st_mtime_ns if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    if stamp is not None:
        os.utime(path, ns=(stamp, stamp))


def test_a_change_in_what_a_kernel_calls_is_noticed_wherever_it_lies(tmp_path: Path) -> None:
    def write_called(folder: str, name: str, factor: int) -> None:
        write(tmp_path, f"{folder}/called.py", KERNEL.format(imported="", name=name, value=f"{factor} * x"))

    write_called("lower", "elsewhere", 2)
    write_called("upper", "beside", 1)
    imported = "from lower.called import elsewhere\nfrom upper.called import beside"
    caller = KERNEL.format(imported=imported, name="more", value="beside(elsewhere(x)) + 1")
    write(tmp_path, "upper/caller.py", caller)
    top = KERNEL.format(imported="from upper.caller import more", name="most", value="more(x) + 1")
    write(tmp_path, "top.py", top)

    def run() -> list[int]:
        answered = subprocess.run(
            [sys.executable, "-B", "-c", RUN],
            env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[3]}"},
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        )
        return [int(each) for each in answered.stdout.split()]

    assert run() == [22, 0]
    assert run() == [22, 1]
    write_called("lower", "elsewhere", 3)
    assert run() == [32, 0]
    write_called("upper", "beside", 2)
    assert run() == [62, 0]
    assert run() == [62, 1]


def test_a_kernel_runs_without_scipy_which_can_be_imported_afterwards():
    code = "import sys, numpy; from qkdlink.common.kernels.compaction import select_anywhere as select;"
    code += "values = numpy.ones(3, numpy.uint8); assert select(values, values, values.copy()) == 3;"
    code += "assert 'scipy.linalg' not in sys.modules; import scipy.linalg.cython_blas"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@pytest.mark.parametrize("node", ["alice", "bob"])
def test_a_node_imports_all_that_numba_needs_before_it_meets_its_peer(node: str):
    program = f"""
import sys
from qkdlink.{node}.__main__ import _load
_load()
before = set(sys.modules)
import numpy as np
from qkdlink.common.optics.loops import count_from
count_from(np.zeros(8, np.uint8), np.uint8(1))
print(*(name for name in sorted(set(sys.modules) - before) if name.startswith("numba")))
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
