"""A real Slurm of one node: munge, controller and node daemon, started and stopped by the tests."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LINK = Path("/etc/slurm/slurm.conf")
"""Where Slurm's programs look inside a job, regardless of SLURM_CONF outside. A link, while the tests run."""

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "setpriv")
PREFIX = "gradleak-slurm-"

# Memory is enforced by polling resident sets every second: control groups need more rights than containers have.
CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=0,sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=5
MinJobAge=3600
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1 \\
  RealMemory=64000 Gres=gpu:2
PartitionName=cpu Nodes={host} Default=YES MaxTime=1-0
PartitionName=gpu Nodes={host} MaxTime=1-0
"""


def why_not() -> str:
    """Return why no cluster can be started here; empty if one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no Slurm here ({', '.join(missing)} missing): `make test-slurm` installs it on Debian as root"
    if os.geteuid() != 0:
        return "a Slurm for tests is started by root only"
    left = _left_behind()
    if left is not None and _runs(left / "slurmctld.pid"):
        return f"the Slurm of other tests runs ({left})"
    if left is None and os.path.lexists(LINK):
        return f"{LINK} exists: this machine has a Slurm of its own"
    return ""


def _left_behind() -> Path | None:
    """Return the folder of tests that were killed before they could remove their link."""
    if not LINK.is_symlink() or not LINK.readlink().parent.name.startswith(PREFIX):
        return None
    return LINK.readlink().parent


def _runs(pid_file: Path) -> bool:
    try:
        return Path("/proc", pid_file.read_text().strip(), "comm").read_text().strip() == pid_file.stem
    except OSError:
        return False


def until(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until ``done``, with a timeout.

    Raises:
        TimeoutError: it did not happen in time; ``what`` describes it.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """The daemons, and their view of jobs.

    Attributes:
        folder: configuration, state and logs; removed at the end.
    """

    def __init__(self) -> None:
        # Not in pytest's folder: munge needs a path that others may traverse.
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.folder.chmod(0o755)
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start munge, controller and node, and wait until the node takes jobs."""
        folder = self.folder
        for name in ("state", "spool", "dev"):
            (folder / name).mkdir()
        # Devices that stand in for GPUs: Slurm needs files to assign. These are two copies of /dev/null.
        for name in ("gpu0", "gpu1"):
            os.mknod(folder / "dev" / name, 0o020666, os.makedev(1, 3))
        host = socket.gethostname().split(".")[0]
        (folder / "slurm.conf").write_text(
            CONF.format(folder=folder, host=host, controller_port=_free_port(), node_port=_free_port())
        )
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/dev/gpu[0-1]\n")
        key = folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        left = _left_behind()
        if left is not None:
            shutil.rmtree(left, ignore_errors=True)
            LINK.unlink()
        LINK.symlink_to(folder / "slurm.conf")
        self._start(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        until((folder / "munge.socket").exists, 20, "munged")
        self._start("slurmctld", "-D", "-f", str(folder / "slurm.conf"))
        self._start("slurmd", "-D", "-f", str(folder / "slurm.conf"))
        until(lambda: self._ask("sinfo", "--noheader", "--format=%T").split() == ["idle"], 30, "an idle node")

    def stop(self) -> None:
        """Cancel all jobs, stop the daemons and remove their files, without waiting for long."""
        try:
            if self._daemons:
                self.cancel_all()
        finally:
            for daemon in reversed(self._daemons):
                daemon.send_signal(signal.SIGTERM)
                try:
                    daemon.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
            if LINK.is_symlink() and LINK.readlink().parent == self.folder:
                LINK.unlink()
            shutil.rmtree(self.folder, ignore_errors=True)

    def cancel_all(self) -> None:
        """Cancel everything that a test left in the queue."""
        self._ask("scancel", "--user=root")
        until(lambda: not self.queue(), 30, "an empty queue")

    def queue(self) -> list[str]:
        """Return the ids of jobs that are pending, running or completing."""
        return self._ask("squeue", "--noheader", "--format=%i").split()

    def jobs(self) -> list[dict[str, str]]:
        """Return all jobs since the start in order, including finished ones, as ``scontrol`` shows them."""
        shown = self._ask("scontrol", "--oneliner", "show", "jobs").splitlines()
        jobs = [dict(field.split("=", 1) for field in line.split() if "=" in field) for line in shown]
        return sorted((job for job in jobs if "JobId" in job), key=lambda job: int(job["JobId"]))

    def logs(self) -> str:
        """Return the ends of the daemons' logs, to explain a failure."""
        files = sorted(self.folder.glob("*.log"))
        return "\n".join(f"--- {file.name}\n" + file.read_text(errors="replace")[-3000:] for file in files)

    def _start(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            # If pytest is killed, its daemons get a signal too.
            guarded = ["setpriv", "--pdeathsig", "TERM", *command]
            self._daemons.append(subprocess.Popen(guarded, stdout=log, stderr=log))

    @staticmethod
    def _ask(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
