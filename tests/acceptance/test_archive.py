"""Whole outputs, from the manifest to what zcat says."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.driver import Program, eventually, write_tree
from tests.services.s3 import S3Server

TREE = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
---
apiVersion: reconciler/v1
kind: Task
metadata: {name: loud}
spec:
  server: here
  command: |
    i=0; while [ $i -lt 3000 ]; do echo "line $i of $PASSWORD"; i=$((i + 1)); done
    head -c 2000000 /dev/urandom >&2
  output: {maxBytes: 1KiB, archive: true}
  secrets: {PASSWORD: {env: PW}}
"""
SECRET = "hunter22-the-secret"
OUT = b"".join(b"line %d of ***\n" % number for number in range(3000))


def one_run(program: Program) -> dict[str, Any]:
    """`describe` of a run of the task, ended; asked for as soon as a worker is there."""
    words = ("run", "loud", "--wait", "-o", "json")
    done = eventually(lambda: result if (result := program(*words)).code == 0 else None, seconds=60)
    (item,) = done.json["items"]
    found: dict[str, Any] = program.json("describe", "execution", item["id"])
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "tree", {"all.yaml": TREE})


def test_the_archive_is_the_whole_masked_output(program: Callable[..., Program], tree: Path) -> None:
    one = program(RECONCILER_SECRET_PW=SECRET)
    up = one.start("up", str(tree))
    eventually(lambda: "applied" in one.said(up), seconds=60)
    run = one_run(one)
    folder = one.folder / ".reconciler" / "archive"
    assert Path(run["archive"]).is_relative_to(folder)
    assert gzip.decompress(Path(run["archive"] + ".out.gz").read_bytes()) == OUT
    err = gzip.decompress(Path(run["archive"] + ".err.gz").read_bytes())
    assert (len(err), run["errorBytes"], run["outputBytes"]) == (2_000_000, 2_000_000, len(OUT))
    assert run["outputSha256"] == hashlib.sha256(OUT).hexdigest()
    assert run["errorSha256"] == hashlib.sha256(err).hexdigest()
    assert list((folder / ".unfinished").iterdir()) == []


def test_the_archive_may_be_a_bucket(
    program: Callable[..., Program], tree: Path, s3_server: S3Server
) -> None:
    bucket = s3_server.new_bucket()
    one = program(
        RECONCILER_SECRET_PW=SECRET, RECONCILER_ARCHIVE=f"s3://{bucket}/runs", **s3_server.variables
    )
    up = one.start("up", str(tree))
    eventually(lambda: "applied" in one.said(up), seconds=60)
    run = one_run(one)
    assert run["archive"].startswith(f"s3://{bucket}/runs/2")
    key = run["archive"].removeprefix(f"s3://{bucket}/") + ".out.gz"
    body = s3_server.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    assert gzip.decompress(body) == OUT
    page = one("logs", run["id"], "--page", "200", "--page-size", "10", "--stream", "out").ok()
    assert page.out == "".join(f"line {number} of ***\n" for number in range(1990, 2000))


def test_a_full_disk_costs_the_archive_and_not_the_run(program: Callable[..., Program], tree: Path) -> None:
    one = program(RECONCILER_SECRET_PW=SECRET, RECONCILER_ARCHIVE="archive")
    (one.folder / "archive").mkdir()
    one("apply", str(tree), "--yes").ok()
    words = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    mounted = "mount -t tmpfs -o size=256k full archive"
    if subprocess.run([*words, "sh", "-c", mounted], cwd=one.folder, check=False).returncode:
        pytest.skip("this machine allows no mount namespaces")
    process = subprocess.Popen(
        [*words, "sh", "-c", f'{mounted}; exec "$0" -m reconciler worker', sys.executable],
        cwd=one.folder,
        env=one.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        run = one_run(one)
    finally:
        process.terminate()
        said = process.communicate(timeout=30)[0]
    assert (run["state"], run["archive"], run["truncated"]) == ("success", None, True)
    assert (run["outputBytes"], run["outputSha256"]) == (len(OUT), hashlib.sha256(OUT).hexdigest())
    line = f"the output of execution {run['id']} is not in the archive: the archive {one.folder}/archive"
    assert said.count(f"{line} cannot be written: No space left on device") == 1
    assert "Traceback" not in said


def test_a_bucket_without_the_extra_is_an_error_at_the_start(
    program: Callable[..., Program], tree: Path
) -> None:
    one = program(RECONCILER_ARCHIVE="s3://bucket/x")
    # a boto3 that cannot be found, in front of the one that the tests have
    (one.folder / "boto3.py").write_text("raise ModuleNotFoundError(\"No module named 'boto3'\")\n")
    one.environment["PYTHONPATH"] = f"{one.folder}:{one.environment['PYTHONPATH']}"
    done = one("up", str(tree))
    assert done.code == 1
    assert "the archive s3://bucket/x needs boto3, which is not installed" in done.err
    assert "pip install 'reconciler[s3]'" in done.err
