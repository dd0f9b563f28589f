from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import SettingsInvalid
from reconciler.model.enums import NotifyOn
from reconciler.settings import describe_settings, load_settings, mask_url


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(tmp_path: Path) -> None:
    (tmp_path / "reconciler.toml").write_text(
        'database_url = "sqlite:///file.db"\nworkers = 4\nlate_after = "90s"\n'
    )
    environment = {"RECONCILER_DATABASE_URL": "sqlite:///env.db", "RECONCILER_ALLOW_LOCAL": "1"}
    settings = load_settings(environment, tmp_path)
    assert (settings.database_url, settings.workers, settings.late_after) == ("sqlite:///env.db", 4, 90)
    assert settings.allow_local is True
    assert settings.origins["database_url"] == "RECONCILER_DATABASE_URL"
    assert settings.origins["workers"] == str(tmp_path / "reconciler.toml")
    assert settings.origins["log"] == "default"
    assert (
        load_settings(environment, tmp_path, database_url="sqlite:///x.db").database_url == "sqlite:///x.db"
    )


def test_all_problems_of_the_settings_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "reconciler.toml").write_text(
        'workers = 0\ncolour = "red"\n[providers]\nvault = "vault get"\n'
    )
    with pytest.raises(SettingsInvalid) as caught:
        load_settings({"RECONCILER_LATE_AFTER": "soon", "RECONCILER_LOG": "xml"}, tmp_path)
    problems = caught.value.details["problems"]
    assert len(problems) == 5
    for word in ("workers", "colour", "providers.vault", "RECONCILER_LATE_AFTER", "RECONCILER_LOG"):
        assert any(word in problem for problem in problems)


def test_the_spool_has_a_size_that_holds_at_least_one_run(tmp_path: Path) -> None:
    assert load_settings({"RECONCILER_SPOOL_SIZE": "1GiB"}, tmp_path).spool_size == 2**30
    for size in ("1MiB", "1000", "much"):
        with pytest.raises(SettingsInvalid, match="spool_size"):
            load_settings({"RECONCILER_SPOOL_SIZE": size}, tmp_path)
    shown = {row["name"]: row["value"] for row in describe_settings(load_settings({}, tmp_path))}
    assert (shown["spool_size"], shown["database_pool_ping"]) == ("256MiB", True)


@pytest.mark.parametrize("text", ["= 1", "\udcff".encode("utf-8", "surrogatepass").decode("latin-1")])
def test_a_broken_file_is_one_problem(tmp_path: Path, text: str) -> None:
    (tmp_path / "reconciler.toml").write_text(text, encoding="latin-1")
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        load_settings({}, tmp_path)


def test_what_is_shown_of_the_settings_holds_no_secret(tmp_path: Path) -> None:
    (tmp_path / "reconciler.toml").write_text('[notify.ops]\nurl = "https://hooks.example/T0K3N"\n')
    environment = {
        "RECONCILER_DATABASE_URL": "mysql+pymysql://ops:hunter2@db/x",
        "RECONCILER_REDIS_URL": "redis://:hunter2@cache/0",
        "RECONCILER_SECRET_PGPASSWORD": "hunter2",
    }
    rows = describe_settings(load_settings(environment, tmp_path))
    assert "hunter2" not in str(rows)
    assert "T0K3N" not in str(rows)
    assert {"secret PGPASSWORD", "database_url"} <= {row["name"] for row in rows}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql+pymysql://u:p@h:3306/d", "mysql+pymysql://u:***@h:3306/d"),
        ("redis://:p@h/0", "redis://:***@h/0"),
        ("rediss://u:p@h/0?ssl_password=p&x=1", "rediss://u:***@h/0?ssl_password=***&x=1"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("mysql://u:p%40x@h/d", "mysql://u:***@h/d"),
        ("mysql://u:p@ss@h/d", "mysql://u:***@h/d"),
        ("mysql://u:p/ss@h/d", "mysql://u:***@h/d"),
        ("mysql://h/d?user=u&password=p&x=1", "mysql://h/d?user=u&password=***&x=1"),
    ],
)
def test_a_password_in_a_url_is_masked(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://:p@h:6380/15",
        "rediss://user:p%40ss@h:6380/0?ssl_ca_certs=/etc/ca.pem",
        "redis://[::1]:6379/0",
        "unix:///run/redis.sock?db=2",
    ],
)
def test_a_redis_url_may_be_anything_that_leads_to_one(tmp_path: Path, url: str) -> None:
    assert load_settings({"RECONCILER_REDIS_URL": url}, tmp_path).redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "http://u:hunter2@h",
        "redis://",
        "redis://:hunter2@/0",
        "redis://:hunter2@h:99999/0",
        "redis://:hunter2@h/one",
        "redis://:hunter2@[h/0",
        "unix://",
    ],
)
def test_another_one_is_a_problem_that_does_not_quote_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsInvalid, match="redis_url") as caught:
        load_settings({"RECONCILER_REDIS_URL": url}, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_a_prefix_is_one_word(tmp_path: Path) -> None:
    assert load_settings({"RECONCILER_REDIS_PREFIX": "team-1:prod"}, tmp_path).redis_prefix == "team-1:prod"
    with pytest.raises(SettingsInvalid, match="redis_prefix"):
        load_settings({"RECONCILER_REDIS_PREFIX": "a b"}, tmp_path)


@pytest.mark.parametrize(
    "text", ["s3://", "s3://x", "s3:///prefix", "s3://UP PER/x", "gs://bucket/x", "http://h/x"]
)
def test_an_archive_is_a_folder_or_a_bucket(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsInvalid, match="a folder or s3://bucket/prefix is expected"):
        load_settings({"RECONCILER_ARCHIVE": text}, tmp_path)


def test_without_a_place_archives_lie_in_the_state_folder(tmp_path: Path) -> None:
    assert (
        load_settings({"RECONCILER_STATE_DIR": "/var/lib/r"}, tmp_path).archive_place == "/var/lib/r/archive"
    )
    for text in ("/srv/archive", "s3://bucket/a/b", "s3://bucket"):
        assert load_settings({"RECONCILER_ARCHIVE": text}, tmp_path).archive_place == text
    assert load_settings({"RECONCILER_ARCHIVE": "s3://bucket/a/"}, tmp_path).archive_place == "s3://bucket/a"


def test_targets_of_notifications_are_read_and_every_mistake_is_told_without_a_secret(tmp_path: Path) -> None:
    (tmp_path / "reconciler.toml").write_text(
        '[notify.ops]\nurl = {env = "OPS"}\n'
        '[notify.pager]\nwebhook = "https://h.example/x"\nsecret = {env = "P"}\n'
        'events = ["guard", "overdue"]\nprojects = ["billing"]\n'
    )
    targets = load_settings({}, tmp_path).notify
    assert targets["ops"].url == {"env": "OPS"}
    pager = targets["pager"]
    assert pager.listens(NotifyOn.GUARD, "billing")
    assert not pager.listens(NotifyOn.GUARD, "shop")
    assert not pager.listens(NotifyOn.DRIFT, "billing")
    (tmp_path / "reconciler.toml").write_text(
        '[notify.a]\n[notify.b]\nurl = "x://T0K3N"\nwebhook = "https://T0K3N/"\n'
        '[notify.c]\nwebhook = "http://h.example/T0K3N"\n[notify.d]\nurl = "T0K3N"\n'
        '[notify.e]\nurl = "x://T0K3N"\nevents = ["fail"]\ncolour = 1\n'
        '[notify.f]\nurl = "x://y"\nsecret = "env:X"\n'
        '[notify.g]\nurl = "x://y"\nprojects = ["p"]\n'
        '[notify.h]\nwebhook = "https://h:T0K3N/"\nsecret = "env:X"\n'
    )
    with pytest.raises(SettingsInvalid) as caught:
        load_settings({}, tmp_path)
    said = caught.value.message
    for words in (
        "notify.a: one of `url` and `webhook`",
        "notify.b: one of `url` and `webhook`",
        "notify.c.webhook: an https:// URL is expected",
        "notify.d.url: an Apprise URL",
        "notify.e.events: a list of events is expected: drift, failure",
        "notify.e: unknown setting 'colour'; known are url, webhook, secret, events, projects",
        "notify.f: `secret` signs a `webhook`",
        "notify.g: `projects` says whose `events`",
        "notify.h.webhook: an https:// URL with a host",
    ):
        assert words in said, words
    assert "T0K3N" not in str(caught.value.details) + said


def test_an_unknown_setting_is_told_with_the_known_ones(tmp_path: Path) -> None:
    """`reconciler settings` reads the same file, so it cannot tell them."""
    (tmp_path / "reconciler.toml").write_text("lateafter = '5m'\n")
    with pytest.raises(SettingsInvalid) as caught:
        load_settings({}, tmp_path)
    assert caught.value.message.endswith("unknown setting 'lateafter'")
    assert "known are database_url, " in (caught.value.hint or "")
    assert "late_after" in (caught.value.hint or "")
