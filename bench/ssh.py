"""Commands a second over one local sshd, 20 at a time: durable and plain runs beside OpenSSH and others.

Every engine runs ``true``. *Floor* is one ssh session whose shell starts as many ``sh -c true``, 20 at a
time: what the machine could do with nothing between us and it. Figures are medians of rounds. Ours are whole
runs: environment, exit code, both streams, an Outcome; the durable ones with their folder on the host, made,
read and removed. CPU is that of this process. Processes are those of the whole machine by the count of its
kernel, so the least of the rounds is shown.

    python bench/ssh.py [--rounds 5] [--runs 400] [--connections 200] [--json bench/results/ssh.json]

"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import platform
import resource
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from reconciler.execute.control import Control
from reconciler.execute.executors import Executors
from reconciler.model.execution import Hop, Status
from tests.execute.support import QuietSshd, make_job, running, ssh_hop

PARALLEL = 20
Engine = Callable[[int], None]


def spread(work: Callable[[], None], count: int) -> None:
    """Do it ``count`` times in 20 threads."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        for done in [pool.submit(work) for _ in range(count)]:
            done.result()


def ours(executors: Executors, hop: Hop) -> Engine:
    def one() -> None:
        job = make_job(hop, "true")
        outcome = executors.run(job, Control())
        assert outcome.status is Status.SUCCESS, outcome
        executors.recorded(job)

    return lambda count: spread(one, count)


def openssh(sshd: QuietSshd, *options: str) -> list[str]:
    known = [
        "-o",
        f"UserKnownHostsFile={sshd.known_hosts}",
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
    ]
    way = ["-i", str(sshd.client_key), "-p", str(sshd.port), *options, f"{sshd.user}@{sshd.host}"]
    return ["ssh", "-F", "none", *known, *way]


def floor(sshd: QuietSshd) -> Engine:
    return lambda count: call([*openssh(sshd), f"seq {count} | xargs -n 1 -P {PARALLEL} sh -c true"])


def call(words: list[str]) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)


@contextlib.contextmanager
def control_master(sshd: QuietSshd) -> Iterator[Engine]:
    path = sshd.folder / "cm"
    master = subprocess.Popen(openssh(sshd, "-M", "-N", "-S", str(path)), stdin=subprocess.DEVNULL)
    try:
        while not path.exists():
            time.sleep(0.02)
        yield lambda count: spread(lambda: call([*openssh(sshd, "-S", str(path)), "true"]), count)
    finally:
        master.terminate()
        master.wait()


def fabric(sshd: QuietSshd) -> Engine:
    from fabric import Config, Connection

    local = threading.local()

    def one() -> None:
        if not hasattr(local, "connection"):
            keys = {"key_filename": str(sshd.client_key), "allow_agent": False, "look_for_keys": False}
            config = Config(overrides={"load_ssh_configs": False})
            local.connection = Connection(sshd.host, sshd.user, sshd.port, config=config, connect_kwargs=keys)
        local.connection.run("true", hide=True, in_stream=False)

    return lambda count: spread(one, count)


def parallel_ssh(sshd: QuietSshd) -> Engine:
    """It shares no connection between commands at once: it keeps 20, and runs each command on all."""
    from pssh.clients import ParallelSSHClient

    way = {"user": sshd.user, "port": sshd.port, "pkey": str(sshd.client_key)}
    client = ParallelSSHClient([sshd.host] * PARALLEL, pool_size=PARALLEL, **way)

    def run(count: int) -> None:
        for _ in range(count // PARALLEL):
            output = client.run_command("true")
            client.join(output)
            assert all(one.exit_code == 0 for one in output)

    return run


def ansible(sshd: QuietSshd, module: str) -> Engine:
    hosts = sshd.folder / "hosts"
    name = f"ansible_host={sshd.host} ansible_port={sshd.port} ansible_user={sshd.user}"
    key = f"ansible_ssh_private_key_file={sshd.client_key}"
    common = f"ansible_ssh_common_args='-o UserKnownHostsFile={sshd.known_hosts}'"
    hosts.write_text("".join(f"h{number} {name} {key} {common}\n" for number in range(PARALLEL)))
    words = ["ansible", "all", "-i", str(hosts), "-f", str(PARALLEL), "-m", module, "-a", "true"]

    def run(count: int) -> None:
        for _ in range(max(1, count // PARALLEL)):
            call(words)

    return run


def started_processes() -> int:
    (line,) = [line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("processes")]
    return int(line.split()[1])


def measure(rounds: int, runs: int, connections: int) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        sshd = stack.enter_context(contextlib.closing(QuietSshd("MaxSessions 40", "MaxStartups 300")))
        sshd.start()
        executors = stack.enter_context(running(sshd.folder))
        engines: dict[str, tuple[Engine, int]] = {
            "floor: one shell": (floor(sshd), runs),
            "reconciler durable": (ours(executors, ssh_hop(sshd, "durable")), runs),
            "reconciler plain": (ours(executors, ssh_hop(sshd, "plain", durable=False)), runs),
            "OpenSSH ControlMaster": (stack.enter_context(control_master(sshd)), runs),
            "OpenSSH new connection": (
                lambda count: spread(lambda: call([*openssh(sshd), "true"]), count),
                runs // 4,
            ),
        }
        missing = []
        if importlib.util.find_spec("fabric") is not None:
            engines["fabric"] = (fabric(sshd), runs)
        else:
            missing.append("fabric")
        if importlib.util.find_spec("pssh") is not None:
            engines["parallel-ssh"] = (parallel_ssh(sshd), runs)
        else:
            missing.append("parallel-ssh")
        for module in ("raw", "shell"):
            if shutil.which("ansible") is not None:
                engines[f"ansible {module}"] = (ansible(sshd, module), 2 * PARALLEL)
            else:
                missing.append(f"ansible {module}")
        figures = {name: sample(engine, count, rounds) for name, (engine, count) in engines.items()}
        latency = {
            hop.name: alone(executors, hop)
            for hop in (ssh_hop(sshd, "durable"), ssh_hop(sshd, "plain", durable=False))
        }
        memory = open_connections(executors, sshd, connections) if connections else None
    return {
        "python": platform.python_version(),
        "runs": runs,
        "rounds": rounds,
        "engines": figures,
        "missing": missing,
        "latencyMilliseconds": latency,
        "memory": memory,
    }


def sample(engine: Engine, count: int, rounds: int) -> dict[str, float]:
    engine(PARALLEL)
    rates, processor, processes = [], [], []
    for _ in range(rounds):
        used, forked, begun = cpu(), started_processes(), time.perf_counter()
        engine(count)
        rates.append(count / (time.perf_counter() - begun))
        processor.append((cpu() - used) * 1000 / count)
        processes.append((started_processes() - forked) / count)
    return {
        "perSecond": statistics.median(rates),
        "cpuMilliseconds": statistics.median(processor),
        "processes": min(processes),
    }


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def alone(executors: Executors, hop: Hop) -> float:
    times = []
    for _ in range(40):
        begun = time.perf_counter()
        executors.run(make_job(hop, "true"), Control())
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def open_connections(executors: Executors, sshd: QuietSshd, count: int) -> dict[str, float]:
    before = resident()
    for number in range(count):
        outcome = executors.run(make_job(ssh_hop(sshd, f"many-{number}"), "true"), Control())
        assert outcome.status is Status.SUCCESS, outcome
    return {"connections": count, "megabytes": resident() - before}


def resident() -> float:
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024


def show(result: dict[str, Any]) -> None:
    engines = result["engines"]
    base, peer = engines["floor: one shell"]["perSecond"], engines["OpenSSH ControlMaster"]["perSecond"]
    print(f"{'':26}{'runs/s':>8}{'of floor':>10}{'× ControlMaster':>17}{'CPU ms/run':>12}{'processes':>11}")
    for name, row in engines.items():
        rate = row["perSecond"]
        own = f"{row['cpuMilliseconds']:.2f}" if name.startswith("reconciler") else "-"
        print(f"{name:26}{rate:8.0f}{rate / base:10.0%}{rate / peer:17.2f}{own:>12}{row['processes']:11.1f}")
    for name, milliseconds in result["latencyMilliseconds"].items():
        print(f"one {name} run alone: {milliseconds:.1f} ms")
    if result["memory"]:
        print(f"{result['memory']['connections']} open connections: {result['memory']['megabytes']:.0f} MB")
    for name in result["missing"]:
        print(f"{name}: not installed, skipped")


def main() -> None:
    arguments = argparse.ArgumentParser(description="runs over ssh, beside peers")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--runs", type=int, default=400)
    arguments.add_argument("--connections", type=int, default=200)
    arguments.add_argument("--json", type=Path, default=Path("bench/results/ssh.json"))
    given = arguments.parse_args()
    result = measure(max(5, given.rounds), given.runs, given.connections)
    show(result)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
