from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from reconciler.errors import SecretUnavailable
from reconciler.execute.secrets import MAX_BYTES, SecretResolver

VALUE = "s3cr3t-value"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "secrets"
    (found / "team").mkdir(parents=True)
    (found / "token").write_text(VALUE + "\n")
    (found / "two").write_bytes(b"value\n\n")
    (found / "bytes").write_bytes(b"\xff\xfe")
    (found / "team" / "token").write_text("deep")
    (found / "link").symlink_to("team/token")
    (tmp_path / "outside").write_text(VALUE)
    (found / "escape").symlink_to(tmp_path / "outside")
    (found / "up").symlink_to("..")
    (found / "circle").symlink_to("circle")
    (found / "empty").write_text("\n")
    (found / "nul").write_bytes(b"a\0b")
    (found / "big").write_bytes(b"x" * (MAX_BYTES + 1))
    os.mkfifo(found / "fifo")
    return found


def provider(*lines: str) -> tuple[str, ...]:
    return (sys.executable, "-c", "\n".join(["import sys", *lines]))


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"env": "DB"}, VALUE.encode()),
        ({"env": "ODD"}, b"\xff"),
        ({"file": "token"}, VALUE.encode()),
        ({"file": "two"}, b"value\n"),
        ({"file": "bytes"}, b"\xff\xfe"),
        ({"file": "team/token"}, b"deep"),
        ({"file": "link"}, b"deep"),
        ({"vault": "path/to#field"}, b"got path/to#field"),
    ],
)
def test_a_reference_gives_its_value(folder: Path, reference: dict[str, str], value: bytes) -> None:
    resolver = SecretResolver(
        {"RECONCILER_SECRET_DB": VALUE, "RECONCILER_SECRET_ODD": os.fsdecode(b"\xff")},
        folder,
        {"vault": provider("print('got', sys.argv[1])")},
    )
    assert resolver.resolve(reference) == value


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"env": "MISSING"}, "RECONCILER_SECRET_MISSING is not set"),
        ({"env": "EMPTY"}, "is empty"),
        ({"file": "missing"}, "is not there"),
        ({"file": "escape"}, "leaves the secrets folder"),
        ({"file": "up/outside"}, "leaves the secrets folder"),
        ({"file": "../outside"}, "leaves the secrets folder"),
        ({"file": "circle"}, "cannot be read"),
        ({"file": "team"}, "is not a file"),
        ({"file": "fifo"}, "is not a file"),
        ({"file": "empty"}, "is empty"),
        ({"file": "nul"}, "NUL byte"),
        ({"file": "big"}, "longer than"),
        ({"pass": "x"}, "unknown provider; known are broken, env, file, noisy, slow"),
        ({"broken": "x"}, "does not run"),
        ({"noisy": "x"}, "exit code 3"),
        ({"slow": "x"}, "took longer than 0.5 s"),
    ],
)
def test_a_secret_that_is_not_there_is_named_and_never_shown(
    folder: Path, reference: dict[str, str], words: str
) -> None:
    resolver = SecretResolver(
        {"RECONCILER_SECRET_EMPTY": "", "RECONCILER_SECRET_OTHER": VALUE},
        folder,
        {
            "broken": ("/no/such/program",),
            "noisy": provider(f"print('{VALUE}')", f"print('{VALUE}', file=sys.stderr)", "sys.exit(3)"),
            "slow": provider("import time", f"print('{VALUE}', flush=True)", "time.sleep(30)"),
        },
        provider_seconds=0.5,
    )
    with pytest.raises(SecretUnavailable) as caught:
        resolver.resolve(reference)
    assert words in caught.value.message
    assert next(iter(reference.values())) in caught.value.message
    assert VALUE not in f"{caught.value.message} {caught.value.hint} {caught.value.details}"


def test_without_a_folder_files_are_not_there() -> None:
    with pytest.raises(SecretUnavailable, match="RECONCILER_SECRETS_DIR is not set"):
        SecretResolver({}).resolve({"file": "token"})


def test_a_provider_sees_no_other_secrets_and_no_shell(tmp_path: Path) -> None:
    resolver = SecretResolver(
        {"RECONCILER_SECRET_OTHER": VALUE, "PATH": os.environ["PATH"]},
        None,
        {"show": provider("import os", "print(sorted(os.environ), sys.argv[1])")},
    )
    text = resolver.resolve({"show": f"$(touch {tmp_path}/x); x"}).decode()
    assert "RECONCILER" not in text
    assert "$(touch" in text
    assert not list(tmp_path.iterdir())
