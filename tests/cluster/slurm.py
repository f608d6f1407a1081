"""A SLURM cluster of two nodes, all of it on this machine and for the time of a test.

Both nodes answer on the loopback interface, on ports that are free; who may do what is
not checked, so no service for that has to run. The first node has the machine's own name,
which resolves; the second never has to.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "squeue")
CPUS = 4  # more than there may be; SLURM is told not to mind

_SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=10
SchedulerParameters=sched_interval=2
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus}
NodeName={host}-b NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus}
PartitionName=test Nodes={host},{host}-b Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """Starts with `with`, ends with it; clients find it by `SLURM_CONF`."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        assert not missing, f"SLURM is not installed: no {', '.join(missing)}"
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        self.settings = folder / "slurm.conf"
        self.environment = os.environ | {"SLURM_CONF": str(self.settings)}

    def __enter__(self) -> "Cluster":
        (self.folder / "state").mkdir(parents=True)
        text = _SETTINGS.format(
            host=self.host,
            ports=_free_ports(3),
            user=_user(),
            folder=self.folder,
            cpus=CPUS,
        )
        self.settings.write_text(text)
        self.call("slurmctld", "-c")
        for node in (self.host, f"{self.host}-b"):
            self.call("slurmd", "-N", node)
        self.wait(lambda: self.idle_nodes() == 2, "two idle nodes", 30)
        return self

    def __exit__(self, *_: object) -> None:
        self.call("scancel", "--user", _user())
        self.wait(lambda: not self.call("squeue", "-h"), "an empty queue", 60)
        self.call("scontrol", "shutdown")

    def call(self, *command: str) -> str:
        """What a command prints; it has to succeed."""
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=self.environment
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def idle_nodes(self) -> int:
        return len(self.call("sinfo", "-h", "-N", "-t", "idle", "-o", "%N").split())

    def job(self, number: str) -> dict[str, str]:
        """What the controller knows about a job."""
        shown = self.call("scontrol", "show", "job", number)
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def wait(self, condition, what: str, seconds: float) -> None:
        """Until the condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"no {what} in {seconds} s"
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in held]
    for server in held:
        server.close()
    return ports


def _user() -> str:
    return subprocess.run(
        ["id", "-un"], capture_output=True, text=True, check=True
    ).stdout.strip()
