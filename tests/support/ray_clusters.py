"""Runs a Ray cluster: a head without room for trials, and two nodes with room for one each."""

import importlib.util
import os
import time

import psutil
import pytest

REQUIRED = "REQUIRE_RAY"  # set where a test must not be skipped for want of Ray
STORE = 80 * 1024 * 1024  # bytes, the least that Ray takes
ATTEMPTS = 3  # Ray gives a node 15 seconds to start, which a busy machine does not always do
# A node that is lost is missed after two seconds, and not after half a minute.
SYSTEM = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


class RayCluster:
    """The cluster: each node is processes of its own."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        head = {
            "num_cpus": 0,
            "include_dashboard": False,
            "object_store_memory": STORE,
            "_system_config": SYSTEM,
        }
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address
        self.nodes = []
        while len(self.nodes) < 2:
            self.add()

    def add(self):
        """Add a node with one CPU."""
        self.nodes.append(self._cluster.add_node(num_cpus=1, object_store_memory=STORE))

    def lose(self, node):
        """Kill a node, and all that runs on it."""
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)

    def trials(self):
        """The processes that are training, each with the node that it is on."""
        return [
            (child, node)
            for node in self.nodes
            for child in training(node.all_processes["raylet"][0].process.pid)
        ]

    def remove(self):
        """Kill all of it."""
        self._cluster.shutdown()


def training(pid):
    """The processes below one that are training a trial, as Ray names them."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if child.cmdline()[:1] and child.cmdline()[0].startswith("ray::trial"):
                found.append(child)
        except psutil.Error:  # it has just ended
            continue
    return found


def running():
    """A cluster that runs; without Ray the test is skipped, or fails if that must not be."""
    if importlib.util.find_spec("ray") is None:
        why = "Ray is not installed: pip install -e '.[ray]'"
        assert not os.environ.get(REQUIRED), why
        pytest.skip(why)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return RayCluster()
        except Exception:  # its processes end with the attempt's objects
            if attempt == ATTEMPTS:
                raise
            time.sleep(5)
    raise AssertionError
