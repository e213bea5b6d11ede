"""Processes that train together, on one machine or several."""

import dataclasses
import os
import sys

import jax

from rowrnn.errors import InputError
from rowrnn.lab.devices.mesh import cores, one_device_per_core

HEARTBEAT_SECONDS = 20  # without a heartbeat after which a process counts as dead, and the others end
JOIN_SECONDS = 120
STARTED = (
    "JAX had started before this training, with {devices} CPU device(s): it trains on these. To train on {cores}, call "
    'jax.config.update("jax_num_cpu_devices", {cores}) right after `import jax`, or set JAX_NUM_CPU_DEVICES={cores} '
    "before Python starts."
)
VARIABLES = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "processes": "JAX_NUM_PROCESSES",
    "process": "JAX_PROCESS_ID",
}


@dataclasses.dataclass(frozen=True)
class Machines:
    """Processes that train together; where nothing is given, there is one."""

    coordinator: str | None = None
    """Address HOST:PORT at which the first process waits for the others; else JAX_COORDINATOR_ADDRESS."""
    processes: int | None = None
    """How many processes train together; else JAX_NUM_PROCESSES."""
    process: int | None = None
    """Which of them this is, from 0; else JAX_PROCESS_ID."""
    cluster: bool = False
    """Take all three from the cluster: SLURM, Open MPI, Kubernetes (GKE) or a TPU pod."""

    def join(self) -> None:
        """Joins the other processes and makes each CPU core a device. Call it before JAX first touches a device.

        Where JAX has started already, as in a notebook, its devices stay as they are, and a message says so.

        If a process dies, the others end with an error within a minute. Only the first process prints to the terminal.

        Raises:
            InputError: if the coordinator, the number of processes or the process is missing or malformed, if one of
                them is given beside `cluster`, or if the processes do not all join within `JOIN_SECONDS`.
        """
        try:
            one_device_per_core()
        except RuntimeError:  # JAX has started, as in a notebook: its devices stay as they are.
            if jax.default_backend() == "cpu" and len(jax.devices()) < cores():
                print(STARTED.format(devices=len(jax.devices()), cores=cores()), file=sys.stderr)
        told = {name: self._told(name) for name in VARIABLES}
        if self.cluster and any(told.values()):
            raise InputError("--cluster finds the processes itself: leave --coordinator, --processes, --process out.")
        if not self.cluster:
            if not any(value is not None for value in told.values()):
                return
            self._check(told)
        # The training itself handles SIGTERM, and saves.
        jax.config.update("jax_enable_preemption_service", False)
        try:
            jax.distributed.initialize(
                coordinator_address=told["coordinator"],
                num_processes=None if told["processes"] is None else int(told["processes"]),
                process_id=None if told["process"] is None else int(told["process"]),
                cluster_detection_method=None if self.cluster else "deactivate",
                initialization_timeout=JOIN_SECONDS,
                heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"The processes did not come together ({reason}). Start all of them within "
                f"{JOIN_SECONDS} seconds, each with its own --process and one --coordinator that all of them reach."
            ) from None
        if jax.process_index() > 0:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (it stays open)

    def _told(self, name: str) -> str | None:
        given = getattr(self, name)
        return os.environ.get(VARIABLES[name]) if given is None else str(given)

    @staticmethod
    def _check(told: dict[str, str | None]) -> None:
        missing = [f"--{name}" for name, value in told.items() if value is None]
        if missing:
            raise InputError(f"Processes that train together need {' and '.join(missing)} too, or --cluster.")
        coordinator, processes, process = told.values()
        numbers = [str(value).isdecimal() for value in (processes, process, str(coordinator).rpartition(":")[2])]
        if not all(numbers) or not int(str(process)) < int(str(processes)):
            raise InputError(
                f"Expected a coordinator HOST:PORT and a process from 0 to the number of processes less one, not "
                f"{coordinator}, process {process} of {processes}."
            )
