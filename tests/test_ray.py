"""The same list of jobs on a real Ray cluster of two node processes, one of which dies in the middle."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_grid import jobs, last, starts, wait_for

from experiments import ray_launcher, run

ray = pytest.importorskip("ray")
# Ray closes its own pipes and sockets when the process ends, and announces changes of its defaults.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*"),
]


def node(cpus: int) -> dict[str, Any]:
    """So many processors, nothing to look at, and ports that are known: a slow machine would wait for them in vain."""
    names = ("runtime_env_agent_port", "metrics_agent_port", "dashboard_agent_listen_port", "metrics_export_port")
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for one in sockets:
            one.bind(("", 0))
        ports = {name: one.getsockname()[1] for name, one in zip(names, sockets, strict=True)}
    return {"num_cpus": cpus, "include_log_monitor": False, **ports}


@contextlib.contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A cluster of two node processes: (the cluster, its second node)."""
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_raylet_start_wait_time_s": "200", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    for attempt in range(3):  # a node that takes half a minute to start gives up
        cluster = Cluster()
        try:
            cluster.add_node(include_dashboard=False, **node(2))
            second = cluster.add_node(**node(1))
            break
        except Exception:  # what Ray raises
            cluster.shutdown()
            if attempt == 2:
                raise
    try:
        yield cluster, second
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_node_dies_and_every_run_ends_once(tmp_path: Path) -> None:
    work = [replace(job, budget="steps=2048") for job in jobs(tmp_path, seeds=6)]
    with two_nodes() as (cluster, doomed):

        def kill() -> None:
            wait_for(lambda: len(list(tmp_path.glob("**/result.json"))) >= 6)
            cluster.remove_node(doomed, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        outcomes = ray_launcher.run_jobs(work, cluster.address)
        killer.join()
        wait_for(lambda: [part["Alive"] for part in ray.nodes()].count(True) == 1)
    assert len(outcomes) == 12 and not any(outcome.exit_code for outcome in outcomes)
    for job in work:
        result = run.result_of(job.folder)
        assert (result["status"], result["steps"]) == ("finished", 2048) and last(job)
        assert (job.folder / "log.txt").read_text().count("finished") == 1  # trained once
    assert sum(starts(job) for job in work) <= 13  # of those under way, only that of the dead node may begin again


def test_an_address_where_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError, match=r"nothing answers at 127\.0\.0\.1:1 "):
        ray_launcher.run_jobs(jobs(tmp_path), "127.0.0.1:1")
