"""Oracle's MySQL. Debian calls MariaDB by that name; the real one may come from a script."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.services.database import RELAXED, Databases, DatabaseServer, as_root, version_of
from tests.services.prepared import copy_folder, prepared
from tests.services.process import HOST, ServiceBroken, ServiceMissing, find_binary, free_port

URL_VARIABLE = "RECONCILER_TEST_MYSQL_URL"
TOOL_VARIABLE = "RECONCILER_TEST_MYSQL_TOOL"
# Beside the checkout, where several checkouts of one machine share it.
SHARED_TOOL = Path(__file__).resolve().parents[3] / "shared" / "tools" / "real-mysql.sh"


class ExternalMySQL(Databases):
    """A server that someone else runs and whose user may create databases; it is never stopped from here."""

    name = "mysql"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or HOST
        self.port = parts.port or 3306
        self.user = unquote(parts.username or "root")
        self.password = unquote(parts.password or "")

    def ensure(self) -> ExternalMySQL:
        """Raises ServiceBroken if it cannot be reached."""
        try:
            self.connect().close()
        except Exception as error:
            # Never the URL: it may hold a password.
            reason = type(error).__name__
            raise ServiceBroken(f"{URL_VARIABLE} is set and its server refuses us: {reason}") from None
        return self

    def close(self) -> None:
        """Nothing to end."""


def mysql_tool() -> Path | None:
    """The script that serves a real MySQL (called ``SCRIPT DIR PORT``), or None."""
    if given := os.environ.get(TOOL_VARIABLE):
        return Path(given)
    return SHARED_TOOL if SHARED_TOOL.is_file() else None


def mysqld_binary() -> str | None:
    """A mysqld that is MySQL; Debian's name for MariaDB does not count."""
    with contextlib.suppress(ServiceMissing):
        binary = find_binary("mysqld")
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
        if "MariaDB" not in said:
            return binary
    return None


def mysql_available() -> bool:
    """Whether this machine claims to have MySQL; CI fails if such a claim does not hold."""
    return bool(os.environ.get(URL_VARIABLE) or mysqld_binary() or mysql_tool())


class MySQL(DatabaseServer):
    """A private mysqld, from the PATH or by the script; root without a password over TCP."""

    name = "mysql"
    start_timeout = 60.0

    def prepare(self) -> None:
        self.binary = mysqld_binary()
        self.tool = None if self.binary else mysql_tool()
        if self.binary:
            template = prepared(f"mysql-{version_of(self.binary)}", self._initialise)
            copy_folder(template, self.data)
        elif self.tool:
            template = prepared(f"mysql-{self._tool_digest(self.tool)}", self._initialise_by_tool)
            self._copy_tool_folder(template)
        else:
            raise ServiceMissing(
                "mysqld (MySQL, not MariaDB) is not installed, "
                f"and neither {URL_VARIABLE} nor {TOOL_VARIABLE} is set"
            )

    @staticmethod
    def _tool_digest(tool: Path) -> str:
        try:
            return hashlib.sha256(tool.read_bytes()).hexdigest()[:12]
        except OSError as error:
            raise ServiceBroken(f"{TOOL_VARIABLE}: {error}") from None

    def _initialise(self, folder: Path) -> None:
        assert self.binary
        done = subprocess.run(
            [self.binary, "--no-defaults", "--initialize-insecure", f"--datadir={folder}", *as_root()],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServiceBroken(f"{self.binary} --initialize-insecure failed:\n{done.stderr[-2000:]}")

    def _initialise_by_tool(self, folder: Path) -> None:
        """Let the script download and serve once, and keep its folder after an orderly end."""
        assert self.tool
        log = folder.with_suffix(".log")
        self.port = free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", str(self.tool), str(folder), str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + 150.0
            while not self.answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text(errors="replace")[-2000:]
                    raise ServiceBroken(f"{self.tool.name} gave no MySQL:\n{said}")
                time.sleep(0.05)
        finally:
            process.terminate()
            process.wait(60)
        for download in ("cache", "lists"):
            shutil.rmtree(folder / download, ignore_errors=True)

    def _copy_tool_folder(self, template: Path) -> None:
        """Its program is shared by a link, only the data is ours."""
        for entry in template.iterdir():
            if entry.name == "data":
                copy_folder(entry, self.data)
            elif entry.is_dir():
                (self.folder / entry.name).symlink_to(entry)

    def command(self) -> list[str]:
        if self.tool:
            return ["bash", str(self.tool), str(self.folder), str(self.port)]
        assert self.binary
        return [
            self.binary,
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            f"--bind-address={HOST}",
            f"--port={self.port}",
            "--mysqlx=OFF",
            *as_root(),
        ]

    def log_text(self) -> str:
        said = self.folder / "err.log"
        return super().log_text() + (said.read_text(errors="replace") if said.exists() else "")

    def _start_once(self) -> MySQL:
        super()._start_once()
        if not self.durable:
            with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
                for name, value in {**RELAXED, "sync_binlog": 0}.items():
                    cursor.execute(f"SET GLOBAL {name} = {value}")
        return self
