from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.execute.script import quote, run_environment, start_script
from tests.execute.support import local_hop, make_job

SHELLS = [["dash"], ["bash", "--posix"], ["bash"], ["busybox", "sh"]]


def available(shell: list[str]) -> list[str]:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    return shell


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.binary(max_size=40).map(lambda value: value.replace(b"\0", b"")), min_size=1, max_size=20
    )
)
def test_a_quoted_word_is_the_same_bytes_in_every_shell(shell: list[str], values: list[bytes]) -> None:
    script = b"printf '%s\\0' " + b" ".join(map(quote, values)) + b"\n"
    done = subprocess.run(available(shell), input=script, capture_output=True, check=True)
    assert done.stdout == b"".join(value + b"\0" for value in values)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_byte_passes(shell: list[str]) -> None:
    value = bytes(range(1, 256)) * 2
    done = subprocess.run(
        available(shell), input=b"printf '%s' " + quote(value) + b"\n", capture_output=True, check=True
    )
    assert done.stdout == value


def test_the_environment_of_a_run_is_complete_and_in_utc() -> None:
    job = make_job(local_hop(), "true")
    assert run_environment(job) == {
        "RECONCILER_EXECUTION_ID": str(job.execution_id),
        "RECONCILER_TASK": "备份",
        "RECONCILER_SERVER": "here",
        "RECONCILER_SCHEDULED_FOR": "2026-03-01T02:00:00.000000Z",
        "RECONCILER_ATTEMPT": "1",
    }


def test_a_script_is_one_group_that_shells_read_whole() -> None:
    text = start_script(make_job(local_hop(), "echo 'it''s'"), {"PASSWORD": b"it's\n}"})
    assert text.startswith(b"{\n")
    assert text.endswith(b"\n}\n")
    assert b"\n#" not in text
