"""Live output over sshd and MariaDB: one process runs, another one looks."""

from __future__ import annotations

import gzip
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.driver import Program, eventually, write_tree
from tests.acceptance.test_over_ssh import a_server, a_task
from tests.services.sshd import Sshd

pytestmark = pytest.mark.timeout(180)

SECRET = "hunter22-the-secret"


def seen(program: Program, *words: str) -> tuple[subprocess.Popen[bytes], Path]:
    """A command that shows something for long, and the file that its standard output goes to."""
    process = program.start(*words)
    return process, program.folder / f"{len(program._started) - 1}.out"


def test_lines_are_seen_while_the_run_goes_on_and_no_secret_anywhere(
    program: Callable[..., Program], mariadb_url: str, sshd: Sshd, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    tree = write_tree(
        tmp_path / "tree",
        {
            "server.yaml": a_server(sshd),
            "loud.yaml": a_task(
                "loud",
                "command: |",
                '  echo "first $PASSWORD"',
                '  printf "half of %.10s" "$PASSWORD"; sleep 0.3; printf "%s\\n" "$PASSWORD" | cut -c11-',
                '  echo "to error $PASSWORD" >&2',
                f"  while [ ! -e {gate} ]; do sleep 0.05; done",
                '  i=0; while [ $i -lt 300 ]; do echo "line $i $PASSWORD"; i=$((i + 1)); done',
                "output: {maxBytes: 1KiB, archive: true}",
                "secrets: {PASSWORD: {env: PW}}",
            ),
        },
    )
    one = program(mariadb_url, RECONCILER_SECRETS_DIR=str(sshd.folder), RECONCILER_SECRET_PW=SECRET)
    one("db", "upgrade").ok()
    up = one.start("up", str(tree))
    eventually(lambda: "applied" in one.said(up), seconds=60)
    asking, asked = seen(one, "run", "loud", "--follow")
    eventually(lambda: b"to error" in asked.read_bytes(), seconds=60)
    late, looked = seen(one, "logs", "loud", "--follow")
    died, _ = seen(one, "logs", "loud", "--follow", "--stream", "out")
    eventually(lambda: b"to error" in looked.read_bytes(), seconds=60)
    eventually(lambda: "first" in one.said(died), seconds=60)
    # the run waits for us: what was seen was seen while it ran
    died.kill()
    interrupted, looked_too = seen(one, "logs", "loud", "--follow")
    eventually(lambda: b"to error" in looked_too.read_bytes(), seconds=60)
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(20) == 130
    assert "the run goes on" in one.said(interrupted)
    assert "Traceback" not in one.said(interrupted)

    gate.touch()
    assert asking.wait(60) == 0
    assert late.wait(60) == 0
    whole = "".join(f"line {number} ***\n" for number in range(300))
    for file in (asked, looked):
        text = file.read_text()
        assert text.startswith("first ***\n")
        assert text.count("to error ***\n") == 1
        assert text.endswith(whole)
        assert len(re.findall("^first", text, re.MULTILINE)) == 1

    run = one.executions("loud")[0]
    shown = one.json("describe", "execution", run["id"])
    archived = gzip.decompress(Path(shown["archive"] + ".out.gz").read_bytes()).decode()
    assert archived.endswith(whole)
    stored = one("logs", run["id"]).ok().out
    assert archived in stored
    up.terminate()
    up.wait(30)
    everything = [path for path in one.folder.rglob("*") if path.is_file()]
    leaks = [path for path in everything if SECRET.encode() in path.read_bytes()]
    assert leaks == []
    assert SECRET not in stored + archived + str(shown)
    # an ended run is printed whole, and that is the end
    again = one("logs", "loud", "--follow").ok()
    assert again.out == stored


def test_a_page_of_a_large_archive_is_found_in_little_memory(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    from reconciler.clock import SystemClock
    from reconciler.record.archive import Archives
    from reconciler.store.ids import first_id_at
    from tests.dispatch.fleet import START
    from tests.record.runs import job

    archives = Archives(str(tmp_path / "archive"), SystemClock())
    run = archives.open(job(first_id_at(START), slot=START))
    line = "x" * 90
    for number in range(500):
        run.write("stdout", "".join(f"{number * 1000 + n:06d} {line}\n" for n in range(1000)).encode())
    place = run.finish()
    code = (
        "import resource, sys\n"
        "from reconciler.clock import SystemClock\n"
        "from reconciler.record.archive import Archives\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with Archives(sys.argv[1], SystemClock()).read(sys.argv[2], 'stdout') as found:\n"
        "    page = b''.join(found.lines_between(400_000, 400_100))\n"
        "    tail = b''.join(found.lines_between(found.lines - 1, found.lines))\n"
        "    print(page[:6].decode(), page.count(b'\\n'), tail[:6].decode())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "archive"), str(place)],
        capture_output=True,
        text=True,
        check=True,
    )
    said, grown = done.stdout.splitlines()
    assert said == "400000 100 499999"
    # 49 MB of text; kilobytes
    assert int(grown) < 15_000
