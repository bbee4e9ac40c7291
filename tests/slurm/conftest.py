"""One Slurm for all tests in this folder, or one line that says why there is none."""

import importlib.util
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.slurm.cluster import Cluster, why_not


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a Slurm if none can be started."""
    reason = why_not()
    if not reason and importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        reason = "snakemake-executor-plugin-slurm is missing: `make test-slurm` installs it"
    if reason:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running Slurm."""
    made = Cluster()
    # A terminated test run stops its daemons, as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.exit("stopped", returncode=143))
    try:
        made.start()
        yield made
    finally:
        signal.signal(signal.SIGTERM, before)
        made.stop()


@pytest.fixture(autouse=True)
def _no_jobs_left(cluster: Cluster) -> Iterator[None]:
    """Cancel what a failed test left in the queue, so that no other test fails."""
    yield
    cluster.cancel_all()
