"""Scenarios with whole links, and a sweep on a cluster; every scenario is run by `qkdlink lab run --all`."""

import pytest

from qkdlink.lab.light.sweeps import Axis, Sweep, measured, swept
from qkdlink.lab.scenarios.scenario import scenario


@pytest.mark.parametrize("name", ["bootstrap-psk", "endpoint-compromised-past"])
def test_a_scenario_with_a_whole_link_comes_out_as_expected(name: str):
    outcome = scenario(name).run()
    assert outcome.passed, outcome


@pytest.mark.filterwarnings("ignore::Warning")
def test_a_cluster_computes_what_this_process_would():
    distributed = pytest.importorskip("dask.distributed")
    sweep = Sweep(Axis.parsed("attack.fraction=0:1:3"), ("intercept-resend",), block_pulses=20_000, blocks=1)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        found = dict(swept(sweep, cluster.scheduler_address))
    assert found == {number: measured(sweep, number) for number in range(3)}
