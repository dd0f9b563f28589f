"""Archives in a bucket of S3, or of anything that speaks its protocol: the only place that knows boto3.

Credentials, region and endpoint are found by boto3's own chain (environment, ~/.aws, the machine's role;
AWS_ENDPOINT_URL for another service). Everything here that a run waits for ends in bounded time.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from reconciler.errors import ArchiveUnavailable, NotFound, SettingsInvalid
from reconciler.settings import mask_url

PART_BYTES = 5 * 1024 * 1024
"""The smallest part of an upload that S3 takes, and so what is held in memory, twice: one on its way."""
GROW_AFTER = 1000
"""Parts, of at most 10,000: then they grow, so that 275 GB fit into one upload."""
CONNECT_SECONDS = 5
READ_SECONDS = 30
ATTEMPTS = 4
PATIENCE_SECONDS = 60.0
"""For one part, and for the end: a run whose store is slower than that does without an archive."""
READ_PATIENCE_SECONDS = 20.0
"""For each request of a reader: a person waits, and the row has at least head and tail."""
CONNECTIONS = 32
_QUERY = re.compile(r"\?[^\s\"]*")
_GONE = {"NoSuchKey", "404", "NotFound"}


class Bucket:
    """Objects by name below a prefix. Safe for use by many threads.

    Raises ArchiveUnavailable, and NotFound for what is not there; SettingsInvalid if boto3 is not installed.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        try:
            import boto3
            from botocore.config import Config
        except ModuleNotFoundError as error:
            raise SettingsInvalid(
                f"the archive {self} needs boto3, which is not installed",
                hint="pip install 'reconciler[s3]'",
            ) from error
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=CONNECTIONS,
        )
        with self._mapped("used"):
            self.client: Any = boto3.session.Session().client("s3", config=config)

    def __str__(self) -> str:
        return f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def check(self) -> None:
        """Raise ArchiveUnavailable if the bucket cannot be reached."""
        self.call("reached", self.client.head_bucket)

    def create(self, name: str) -> BucketFile:
        """A new object, to be written, then kept or discarded."""
        return BucketFile(self, self._key(name))

    def open(self, name: str) -> OpenObject:
        """An object that is there."""
        key = self._key(name)
        return OpenObject(self, key, self.read(self.client.head_object, Key=key)["ContentLength"])

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""
        self.call("deleted", self.client.delete_object, Key=self._key(name))

    def forget(self, start: str, now: float | None = None) -> None:
        """Nothing: an upload that nobody ends is invisible, and a rule of the bucket removes it."""

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def call(self, done: str, request: Callable[..., Any], **words: Any) -> Any:
        """A request to the bucket, its errors mapped."""
        with self._mapped(done):
            return request(Bucket=self.bucket, **words)

    def read(self, request: Callable[..., Any], **words: Any) -> Any:
        """What a reader asks: its answer, or an error within `READ_PATIENCE_SECONDS`."""
        task = _Task(lambda: self.call("read", request, **words))
        return task.wait(READ_PATIENCE_SECONDS, lambda: self.late("read", READ_PATIENCE_SECONDS))

    @contextmanager
    def _mapped(self, done: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            yield
        except ClientError as error:
            told = error.response.get("Error", {})
            code = str(told.get("Code", "unknown"))
            if code in _GONE and done in ("read", "deleted"):
                raise NotFound(f"there is no such object in the archive {self}") from error
            raise self._failed(done, f"{code}: {told.get('Message') or 'no reason given'}") from error
        except (BotoCoreError, HTTPClientError, OSError, ValueError) as error:
            why = _QUERY.sub("", mask_url(str(error)))
            raise self._failed(done, why or type(error).__name__) from error

    def _failed(self, done: str, why: str) -> ArchiveUnavailable:
        return ArchiveUnavailable(
            f"the archive {self} cannot be {done}: {why.rstrip('.')}",
            hint="the credentials and the endpoint are those that boto3 finds: docs/operations.md",
        )

    def late(self, done: str, seconds: float) -> ArchiveUnavailable:
        """The error for a request that took too long."""
        return self._failed(done, f"it did not answer within {seconds:.0f} seconds")


class BucketFile:
    """An object on its way: small ones in one request, others in parts while they are written."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._buffer = bytearray()
        self._upload: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._on_its_way: _Task | None = None

    def write(self, data: bytes) -> None:
        """More of it; waits while the part before the last is not stored."""
        self._buffer += data
        if len(self._buffer) >= PART_BYTES * (1 + len(self._parts) // GROW_AFTER):
            self._send_part()

    def keep(self) -> None:
        """It is complete, and stored when this returns."""
        if self._upload is None and self._on_its_way is None:
            body, self._buffer = bytes(self._buffer), bytearray()
            self._wait(_Task(lambda: self._put(body)))
            return
        if self._buffer:
            self._send_part()
        self._arrive()
        self._wait(_Task(self._complete))

    def discard(self) -> None:
        """It is not wanted; also after `keep` has failed. Raises nothing and waits for nothing."""
        self._buffer = bytearray()
        if self._on_its_way is not None or self._upload is not None:
            _Task(self._abort)

    def _send_part(self) -> None:
        self._arrive()
        body, self._buffer = bytes(self._buffer), bytearray()
        self._on_its_way = _Task(lambda: self._store_part(body))

    def _arrive(self) -> None:
        if self._on_its_way is not None:
            self._wait(self._on_its_way)
            self._on_its_way = None

    def _wait(self, task: _Task) -> None:
        task.wait(PATIENCE_SECONDS, lambda: self._bucket.late("written", PATIENCE_SECONDS))

    def _call(self, name: str, **words: Any) -> Any:
        return self._bucket.call("written", getattr(self._bucket.client, name), Key=self._key, **words)

    def _put(self, body: bytes) -> None:
        self._call("put_object", Body=body, ContentType="application/gzip")

    def _store_part(self, body: bytes) -> None:
        if self._upload is None:
            self._upload = self._call("create_multipart_upload", ContentType="application/gzip")["UploadId"]
        number = len(self._parts) + 1
        stored = self._call("upload_part", UploadId=self._upload, PartNumber=number, Body=body)
        sums = {name: value for name, value in stored.items() if name.startswith("ChecksumCRC")}
        self._parts.append({"PartNumber": number, "ETag": stored["ETag"], **sums})

    def _complete(self) -> None:
        parts = {"Parts": self._parts}
        self._call("complete_multipart_upload", UploadId=self._upload, MultipartUpload=parts)

    def _abort(self) -> None:
        task = self._on_its_way
        if task is not None:
            task.done.wait()
        if self._upload is not None:
            with contextlib.suppress(ArchiveUnavailable, NotFound):
                self._call("abort_multipart_upload", UploadId=self._upload)


class OpenObject:
    """An object of the bucket; nothing is kept open."""

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self._bucket = bucket
        self._key = key
        self.size = size

    def read(self, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start`` on."""
        end = min(start + length, self.size) - 1
        if end < start:
            return b""

        def get(**words: Any) -> bytes:
            body: bytes = self._bucket.client.get_object(**words)["Body"].read()
            return body

        found: bytes = self._bucket.read(get, Key=self._key, Range=f"bytes={start}-{end}")
        return found

    def close(self) -> None:
        """Nothing to give back."""


class _Task:
    """Work in a thread of its own, which keeps no process from ending."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.done = threading.Event()
        self._result: Any = None
        self._error: Exception | None = None
        self._work = work
        threading.Thread(target=self._run, name="archive", daemon=True).start()

    def wait(self, seconds: float, late: Callable[[], Exception]) -> Any:
        """What came of the work; raises what it raised, and ``late`` if it goes on after ``seconds``."""
        if not self.done.wait(seconds):
            raise late()
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:  # it is raised again where it is waited for
            self._error = error
        finally:
            self.done.set()
