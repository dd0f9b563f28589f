"""A private S3: moto's server process, which keeps everything in memory."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.services.process import HOST, Service, ServiceMissing, accepts


class S3Server(Service):
    """moto_server on a loopback port; `variables` are what a program needs to use it."""

    name = "s3"

    def prepare(self) -> None:
        self.binary = Path(sys.executable).parent / "moto_server"
        if not self.binary.exists():
            raise ServiceMissing("moto_server is not installed")

    @property
    def url(self) -> str:
        """What AWS_ENDPOINT_URL takes."""
        return f"http://{self.host}:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a client: boto3's own names, nothing of this account's files."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """boto3's client for it."""
        import boto3

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def new_bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"b-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def command(self) -> list[str]:
        return [str(self.binary), "-H", HOST, "-p", str(self.port)]

    def environment(self) -> Mapping[str, str]:
        return {"PYTHONUNBUFFERED": "1"}

    def answers(self) -> bool:
        return accepts(self.port)
