"""A record as bytes and back: JSON in UTF-8, for the spool and for what people look at in its quarantine.

Written down is what came of a run and all that recording it needs, also in another process: the retries of
its spec, and how its server is reached. Left out are the command and
its environment, which nobody needs any more. Texts are masked already; secrets are references.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from reconciler.model.base import declared
from reconciler.model.execution import CapturedStream, Hop, Job, Outcome, Reason, Status
from reconciler.model.server import ServerSpec
from reconciler.model.task import TaskSpec
from reconciler.record.batch import Ended, Record, Started

_UNNEEDED = {"command", "script", "env"}


def encode(record: Record) -> bytes:
    """The record in UTF-8; lone surrogates, which a file's name may hold, pass through."""
    return text_of(shape(record)).encode("utf-8", "surrogatepass")


def decode(data: bytes) -> Record:
    """The record that ``encode`` was given, without command and environment.

    Raises ValueError for anything else: other bytes, or what another version of the program wrote.
    """
    try:
        return record_of(json.loads(data.decode("utf-8", "surrogatepass")))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no record of this version ({type(error).__name__})") from error


def text_of(value: Any, indent: int | None = None) -> str:
    """JSON with its letters as they are."""
    return json.dumps(
        value, ensure_ascii=False, separators=None if indent else (",", ":"), indent=indent, allow_nan=False
    )


def shape(record: Record) -> dict[str, Any]:
    """JSON's values of a record."""
    if isinstance(record, Started):
        return {"kind": "started", "job": _job(record.job), "at": record.at.isoformat()}
    return {"kind": "ended", "job": _job(record.job), "outcome": _outcome(record.outcome)}


def record_of(value: dict[str, Any]) -> Record:
    """The inverse of ``shape``; of anything else it raises KeyError, TypeError, AttributeError or
    ValueError.
    """
    job = _job_of(value["job"])
    if value["kind"] == "started":
        return Started(job, _time(value["at"]))
    if value["kind"] == "ended":
        outcome = _outcome_of(value["outcome"])
        if outcome.execution_id != job.execution_id:
            raise ValueError("an outcome of another execution")
        return Ended(job, outcome)
    raise ValueError(f"no kind of record: {value['kind']!r}")


def _job(job: Job) -> dict[str, Any]:
    return {
        "executionId": job.execution_id,
        "taskId": job.task_id,
        "project": job.project,
        "task": job.task,
        "server": _hop(job.server),
        "jumps": [_hop(hop) for hop in job.jumps],
        "spec": declared(job.spec, exclude=_UNNEEDED),
        "attempt": job.attempt,
        "scheduledFor": job.scheduled_for.isoformat(),
        "dueAt": job.due_at.isoformat(),
        "startedAt": _text(job.started_at),
        "startSent": job.start_sent,
    }


def _job_of(value: dict[str, Any]) -> Job:
    return Job(
        execution_id=_number(value["executionId"]),
        task_id=_number(value["taskId"]),
        project=str(value["project"]),
        task=str(value["task"]),
        server=_hop_of(value["server"]),
        spec=_task_spec(text_of(value["spec"])),
        attempt=_number(value["attempt"]),
        scheduled_for=_time(value["scheduledFor"]),
        due_at=_time(value["dueAt"]),
        jumps=tuple(_hop_of(hop) for hop in value["jumps"]),
        started_at=_time_or_none(value["startedAt"]),
        start_sent=bool(value.get("startSent", False)),
    )


def _hop(hop: Hop) -> dict[str, Any]:
    return {"name": hop.name, "spec": declared(hop.spec)}


def _hop_of(value: dict[str, Any]) -> Hop:
    return Hop(str(value["name"]), _server_spec(text_of(value["spec"])))


# many records are of few tasks and servers, and validating a spec costs more than all the rest
@lru_cache(maxsize=1024)
def _task_spec(text: str) -> TaskSpec:
    return TaskSpec.model_validate(json.loads(text))


@lru_cache(maxsize=1024)
def _server_spec(text: str) -> ServerSpec:
    return ServerSpec.model_validate(json.loads(text))


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "executionId": outcome.execution_id,
        "status": int(outcome.status),
        "reason": outcome.reason.value,
        "finishedAt": outcome.finished_at.isoformat(),
        "startedAt": _text(outcome.started_at),
        "exitCode": outcome.exit_code,
        "stdout": _stream(outcome.stdout),
        "stderr": _stream(outcome.stderr),
        "message": outcome.message,
        "archive": outcome.archive,
    }


def _outcome_of(value: dict[str, Any]) -> Outcome:
    code = value["exitCode"]
    return Outcome(
        execution_id=_number(value["executionId"]),
        status=Status(value["status"]),
        reason=Reason(value["reason"]),
        finished_at=_time(value["finishedAt"]),
        started_at=_time_or_none(value["startedAt"]),
        exit_code=None if code is None else _number(code),
        stdout=_stream_of(value["stdout"]),
        stderr=_stream_of(value["stderr"]),
        message=_text_or_none(value["message"]),
        archive=_text_or_none(value["archive"]),
    )


def _stream(stream: CapturedStream) -> list[Any]:
    return [stream.text, stream.total_bytes, stream.sha256, stream.truncated]


def _stream_of(value: list[Any]) -> CapturedStream:
    text, total, digest, truncated = value
    return CapturedStream(str(text), _number(total), str(digest), bool(truncated))


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.utcoffset() is None:
        raise ValueError("a time without its zone")
    return at.astimezone(UTC)


def _time_or_none(text: str | None) -> datetime | None:
    return None if text is None else _time(text)


def _text_or_none(text: object) -> str | None:
    return None if text is None else str(text)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number is expected")
    return value
