"""The file of a backup: what is written is read, and nothing else is."""

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import sqlite3
import stat
import tarfile
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest
from conftest import snapshot

from airflow_docker import files, project_state, secret_files, shell
from airflow_docker.database import backup_file, db_version, encryption, replacement
from airflow_docker.engines.compose import postgres
from airflow_docker.engines.compose.engine import Compose
from airflow_docker.engines.standalone.sqlite import Sqlite
from airflow_docker.errors import UserError
from airflow_docker.secret_files import SecretOwner
from airflow_docker.verbs import backup, preflight, stack

DESCRIPTION = backup_file.Description("p", "standalone", "sqlite", "2.11.2", "airflow-docker 0", "2026-01-02T03:04:05Z")


@pytest.fixture
def packed(tmp_path):
    """A small backup, and the folder of what is in it."""
    folder = tmp_path / "members"
    (folder / "keys").mkdir(parents=True)
    for name in backup_file.MEMBERS:
        (folder / name).write_bytes(f"content of {name}".encode())
    file = tmp_path / "x.backup"
    with file.open("wb") as target:
        backup_file.write(target, DESCRIPTION, folder)
    return file, folder


def unpacked(file, tmp_path):
    folder = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    return backup_file.read(file, folder), folder


def sealed(tmp_path, entries):
    """A file with the seal of a backup around any tar."""
    packed, file = io.BytesIO(), tmp_path / "crafted"
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0, compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as tar,
    ):
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    body = packed.getvalue()
    file.write_bytes(body + backup_file._seal(hashlib.sha256(body).hexdigest()))
    return file


def entries_of(file):
    """What is in a backup, to be changed."""
    with tarfile.open(file) as tar:
        return [(tarfile.TarInfo(entry.name), tar.extractfile(entry).read()) for entry in tar]


def test_what_was_written_is_read_and_any_tar_program_reads_it_too(packed, tmp_path):
    file, folder = packed
    description, target = unpacked(file, tmp_path)
    assert replace(description, members={}) == DESCRIPTION
    for name in backup_file.MEMBERS:
        assert (target / name).read_bytes() == (folder / name).read_bytes()
    with tarfile.open(file) as tar:
        assert tar.getnames() == ["backup.json", *backup_file.MEMBERS]
        assert {entry.mode for entry in tar} == {0o600}
    assert gzip.decompress(file.read_bytes())


def test_a_database_may_be_of_any_size():
    size = 9 << 30
    header = backup_file._entry("database", size).tobuf(backup_file._TAR)
    assert tarfile.TarInfo.frombuf(header, "utf-8", "strict").size == size


def test_every_length_but_the_whole_is_refused(packed, tmp_path):
    file, _ = packed
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(UserError, match="damaged or not whole|no backup"):
            backup_file._require_seal(file)
    file.write_bytes(content + b"x")
    with pytest.raises(UserError, match="damaged or not whole"):
        unpacked(file, tmp_path)


def test_every_changed_byte_is_noticed_before_anything_is_unpacked(packed, tmp_path):
    file, _ = packed
    content = bytearray(file.read_bytes())
    for position in range(len(content)):
        content[position] ^= 0x01
        file.write_bytes(content)
        with pytest.raises(UserError):
            backup_file._require_seal(file)
        content[position] ^= 0x01
    file.write_bytes(content)
    backup_file._require_seal(file)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "keys/../../evil", "keys", "evil", "database"])
def test_a_member_of_another_name_is_refused_and_nothing_is_written_elsewhere(packed, tmp_path, name):
    entries = entries_of(packed[0])
    for position in (0, 3, len(entries)):
        crafted = sealed(tmp_path, [*entries[:position], (tarfile.TarInfo(name), b"x"), *entries[position:]])
        before = snapshot(tmp_path)
        with pytest.raises(UserError, match="is no backup"):
            unpacked(crafted, tmp_path)
        created = {path for path in snapshot(tmp_path) if path not in before}
        assert all(path.startswith("out-") for path in created)
        assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_is_refused(packed, tmp_path, kind):
    entries = entries_of(packed[0])
    entries[1][0].type, entries[1][0].linkname = kind, "/etc/passwd"
    with pytest.raises(UserError, match="is no backup"):
        unpacked(sealed(tmp_path, [(entries[0]), (entries[1][0], b""), *entries[2:]]), tmp_path)


def test_members_must_be_all_there_and_as_described(packed, tmp_path):
    entries = entries_of(packed[0])
    for missing in range(len(entries)):
        with pytest.raises(UserError, match="is no backup"):
            unpacked(sealed(tmp_path, entries[:missing] + entries[missing + 1 :]), tmp_path)
    for position in range(1, len(entries)):
        entry, content = entries[position]
        for other in (b"X" + content[1:], content + b"x"):
            with pytest.raises(UserError, match=f"{entry.name} is not"):
                unpacked(sealed(tmp_path, [*entries[:position], (entry, other), *entries[position + 1 :]]), tmp_path)


@pytest.mark.parametrize("text", [b"", b"no json", b"[]", b"{}", b'{"format": 1}', b'{"format": 1, "members": 3}'])
def test_a_description_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="is no backup"):
        backup_file.parse_description(text)


def test_a_later_format_says_what_to_do():
    with pytest.raises(UserError, match=r"format 2, and this airflow-docker knows format 1\. Use the"):
        backup_file.parse_description(b'{"format": 2}')


def test_other_programs_files_are_refused(tmp_path):
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("backup.json"))
    (tmp_path / "text").write_text("hello")
    (tmp_path / "gzip").write_bytes(gzip.compress(b"x", mtime=0))
    for name in ("other.tar.gz", "text", "gzip"):
        with pytest.raises(UserError, match="is no backup|damaged or not whole"):
            unpacked(tmp_path / name, tmp_path)
    with pytest.raises(UserError, match="is no backup"):
        unpacked(sealed(tmp_path, []), tmp_path)


# --- encryption ---


def encrypted(content, passphrase="right"):
    target = io.BytesIO()
    encryption.encrypt(io.BytesIO(content), target, passphrase)
    return target.getvalue()


def decrypted(content, passphrase="right"):
    target = io.BytesIO()
    encryption.decrypt(io.BytesIO(content), target, passphrase)
    return target.getvalue()


@pytest.fixture
def cheap(monkeypatch):
    """Small chunks and a key that costs little."""
    monkeypatch.setattr(encryption, "CHUNK", 64)
    monkeypatch.setattr(encryption, "_COST", (4, 8, 1))


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 1000])
def test_what_is_encrypted_is_decrypted(cheap, size):
    content = os.urandom(size)
    assert decrypted(encrypted(content)) == content
    assert encrypted(content) != encrypted(content)


def test_the_key_is_costly():
    assert encryption._COST >= (17, 8, 1)
    assert decrypted(encrypted(b"x")) == b"x"


def test_a_wrong_passphrase_is_one_sentence(cheap):
    with pytest.raises(UserError, match=r"^passphrase: the passphrase is wrong, or the file is damaged\. "):
        decrypted(encrypted(b"x" * 200), "wrong")


def test_a_cut_changed_or_reordered_encrypted_file_is_refused(cheap):
    ciphertext = encrypted(bytes(range(200)))
    start, step = encryption._HEADER.size, 64 + 16
    for length in range(len(encryption.MAGIC), len(ciphertext)):
        with pytest.raises(UserError):
            decrypted(ciphertext[:length])
    for position in range(len(encryption.MAGIC), len(ciphertext)):
        with pytest.raises(UserError):
            decrypted(ciphertext[:position] + bytes([ciphertext[position] ^ 1]) + ciphertext[position + 1 :])
    first, second, rest = (
        ciphertext[start : start + step],
        ciphertext[start + step : start + 2 * step],
        ciphertext[start + 2 * step :],
    )
    for mixed in (second + first + rest, second + rest, first + rest, first + first + second + rest):
        with pytest.raises(UserError):
            decrypted(ciphertext[:start] + mixed)
    with pytest.raises(UserError):
        decrypted(ciphertext + b"x")


def test_a_header_cannot_ask_for_all_the_memory(cheap):
    header = encryption._HEADER.pack(encryption.MAGIC, 40, 8, 1, b"s" * 16)
    with pytest.raises(UserError, match="make no sense"):
        decrypted(header + b"x" * 100)


# --- the verbs, on a standalone database ---

KEYS = {name: f"old-{name}" for name in secret_files.OF_DATABASE}


def make_database(file, version):
    file.parent.mkdir(parents=True, exist_ok=True)
    opened = sqlite3.connect(file)
    opened.execute("PRAGMA journal_mode=WAL")
    opened.execute("CREATE TABLE alembic_version (version)")
    opened.execute("INSERT INTO alembic_version VALUES (?)", [version])
    opened.commit()
    return opened


def content_of(database):
    opened = sqlite3.connect(database.file)
    try:
        return opened.execute("SELECT version FROM alembic_version").fetchone()[0]
    finally:
        opened.close()


@pytest.fixture
def engine(make_settings):
    """As much of a standalone engine as backup and restore ask for; nothing ever runs."""
    settings = make_settings("COMPOSE_PROJECT_NAME=p\nSECRET_AWS__default__key=hunter2\n")
    settings.state_dir.mkdir()
    folder = settings.state_dir / "standalone"
    database = Sqlite(folder, folder / "airflow" / "airflow.db")
    return SimpleNamespace(
        name="standalone", settings=settings, database=database, secret_owner=SecretOwner(os.geteuid(), "x"), work_dir=settings.build_dir,
        require=lambda: None, require_answer=lambda: None, require_fit=lambda: None, states=list, running_artifact=lambda: None,
    )  # fmt: skip


@pytest.fixture
def filled(engine):
    """The same, with a database and keys."""
    database = engine.database
    files.claim(database.folder, "STATE_DIR")
    database.folder.chmod(0o700)
    make_database(database.file, "old").close()
    (database.file.parent / "airflow.cfg").write_text("mine")
    secret_files.put(engine.settings, engine.secret_owner, KEYS)
    return engine


def make_backup(engine):
    backup.create(engine, engine.settings.state_dir / "it")
    return engine.settings.state_dir / "it"


def test_a_backup_is_for_its_owner_and_holds_no_secret_of_the_application(filled):
    file = make_backup(filled)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"hunter2" not in gzip.decompress(file.read_bytes())
    with tarfile.open(file) as tar:
        shown = json.load(tar.extractfile("settings.json"))
        assert tar.extractfile("keys/fernet_key").read() == b"old-fernet_key"
    assert shown["SECRET_AWS__default__key"]["value"] == "***"
    assert shown["COMPOSE_PROJECT_NAME"]["value"] == "p"


def test_a_backup_says_what_runs_and_not_what_was_assembled_last(filled):
    filled.running_artifact = lambda: "it"
    filled.builder = SimpleNamespace(labels=lambda name: {"airflow-docker.fingerprint": name})
    with tarfile.open(make_backup(filled)) as tar:
        assert json.load(tar.extractfile("manifest.json")) == {"airflow-docker.fingerprint": "it"}


def test_a_database_is_copied_whole_while_another_writes(filled, tmp_path):
    writer = sqlite3.connect(filled.database.file)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE alembic_version SET version = 'half done'")
    filled.database.dump(tmp_path / "copy")
    writer.close()
    assert content_of(Sqlite(tmp_path, tmp_path / "copy")) == "old"


def test_a_backup_that_fails_leaves_nothing(filled, monkeypatch):
    before = snapshot(filled.settings.state_dir)

    def fail_for_room(*_):
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr(backup_file, "_size_and_digest", fail_for_room)
    with pytest.raises(OSError, match="No space"):
        make_backup(filled)
    assert snapshot(filled.settings.state_dir) == before


def test_without_a_database_or_its_keys_there_is_nothing_to_back_up(engine, filled):
    (engine.settings.secrets_dir / "fernet_key").unlink()
    with pytest.raises(UserError, match="there is no fernet_key"):
        make_backup(engine)
    filled.database.file.unlink()
    with pytest.raises(UserError, match="there is no database yet"):
        make_backup(engine)


def test_restore_needs_consent_for_what_it_replaces(filled, monkeypatch):
    file = make_backup(filled)
    before = snapshot(filled.database.folder)
    with pytest.raises(UserError, match="p has a database, which this would replace"):
        backup.restore(filled, file)
    monkeypatch.setattr(filled, "states", lambda: ["scheduler"])
    with pytest.raises(UserError, match=r"p is running\. Type: inv down"):
        backup.restore(filled, file)
    monkeypatch.setattr(filled, "states", list)
    filled.database.file.unlink()
    secret_files.put(filled.settings, filled.secret_owner, KEYS | {"fernet_key": "another"})
    with pytest.raises(UserError, match="p has other keys in"):
        backup.restore(filled, file)
    assert set(snapshot(filled.database.folder)) == set(before) - {"airflow/airflow.db"}


def test_a_backup_of_another_engine_or_airflow_says_what_to_set(filled, monkeypatch):
    file = make_backup(filled)
    monkeypatch.setattr(Sqlite, "kind", "postgres")
    with pytest.raises(UserError, match=r"its database is sqlite, .* Set ENGINE=standalone"):
        backup.restore(filled, file, yes=True)
    monkeypatch.setattr(Sqlite, "kind", "sqlite")
    filled.settings = replace(filled.settings, airflow_version="2.10.5")
    with pytest.raises(
        UserError, match=r"of Airflow 2\.11\.2, and AIRFLOW_VERSION is 2\.10\.5\. Set AIRFLOW_VERSION=2"
    ):
        backup.restore(filled, file, yes=True)
    assert content_of(filled.database) == "old"


def test_restore_replaces_database_and_keys_and_keeps_other_files(filled):
    file = make_backup(filled)
    opened = make_database(filled.database.file.with_name("new.db"), "new")
    opened.close()
    filled.database.file.with_name("new.db").replace(filled.database.file)
    crashed = sqlite3.connect(filled.database.file)  # with a journal that must not be applied to what is restored
    crashed.execute("UPDATE alembic_version SET version = 'newer'")
    crashed.commit()
    secret_files.put(filled.settings, filled.secret_owner, {name: f"new-{name}" for name in KEYS})
    (filled.database.folder / "initialised").touch()
    project_state.update(filled.settings, "standalone", started="it")
    backup.restore(filled, file, yes=True)
    crashed.close()
    assert content_of(filled.database) == "old"
    assert secret_files.saved_keys(filled.settings) == KEYS
    assert "old-postgres_password@" in (filled.settings.secrets_dir / "sql_alchemy_conn").read_text()
    assert (filled.database.file.parent / "airflow.cfg").read_text() == "mine"
    left = {entry.name for entry in filled.settings.state_dir.iterdir()}
    assert left == {"standalone", "it", "standalone.json"}
    assert {entry.name for entry in filled.database.folder.iterdir()} == {"airflow", ".made-by-airflow-docker"}


class Killed(BaseException):
    """An end that leaves no time for anything."""


def kill_at_call(patch, count):
    """Die at the ``count``-th change of the file system."""
    calls = []

    def dying(original):
        def call(*args, **kwargs):
            calls.append(original)
            if len(calls) == count:
                raise Killed
            return original(*args, **kwargs)

        return call

    for owner, name in [(Path, "rename"), (Path, "mkdir"), (Path, "unlink"), (Path, "replace")]:
        patch.setattr(owner, name, dying(getattr(owner, name)))


@pytest.mark.parametrize("is_fresh", [False, True])
def test_after_a_kill_at_any_moment_there_is_the_old_or_the_new(filled, tmp_path, is_fresh):
    make_database(tmp_path / "new.db", "new").close()
    keys = {name: f"new-{name}" for name in KEYS}
    undone = finished = 0
    for count in range(1, 100):
        filled.database.drop_backup()
        if is_fresh:
            secret_files.put(filled.settings, filled.secret_owner, {})
            filled.database.file.unlink(missing_ok=True)
        else:
            secret_files.put(filled.settings, filled.secret_owner, KEYS)
            make_again(filled.database, "old")
        with pytest.MonkeyPatch.context() as patch:
            kill_at_call(patch, count)
            patch.setattr(replacement, "_undo", lambda _: None)
            try:
                replacement.replace(filled, tmp_path / "new.db", keys)
            except Killed:
                is_whole = False
            else:
                is_whole = True
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
            kill_at_call(patch, count % 9 + 1)  # and the undoing too
            replacement.undo_interrupted(filled)
        replacement.undo_interrupted(filled)
        assert not replacement.is_pending(filled)
        outcome = (
            content_of(filled.database) if filled.database.exists() else None,
            secret_files.saved_keys(filled.settings),
        )
        assert outcome in [(None, {}) if is_fresh else ("old", KEYS), ("new", keys)], count
        undone, finished = undone + (outcome[1] != keys), finished + (outcome[1] == keys)
        if is_whole:
            break
    assert is_whole and undone > 5 and finished


def test_a_restore_that_fails_gives_its_own_reason_if_nothing_starts_again(filled, monkeypatch, capsys):
    file, filled.states = make_backup(filled), lambda: ["running"]
    monkeypatch.setattr(stack, "down", lambda engine: None)
    monkeypatch.setattr(stack, "up", lambda engine, timeout: raising(UserError("AIRFLOW_VERSION", "is older.")))
    monkeypatch.setattr(replacement, "replace", lambda *_: raising(UserError("database", "has no room.")))
    with pytest.raises(UserError, match=r"^database: has no room\.$"):
        backup.restore(filled, file, yes=True)
    assert "The stack is stopped; its data is unchanged. AIRFLOW_VERSION: is older." in capsys.readouterr().err


def test_after_a_restore_that_fails_no_older_airflow_is_started_on_the_database(filled, monkeypatch, capsys):
    file, filled.states = make_backup(filled), lambda: ["running"]
    project_state.update(filled.settings, "standalone", database={"airflow": "9.9.9"})
    monkeypatch.setattr(stack, "down", lambda engine: None)
    monkeypatch.setattr(stack, "up", lambda *_, **__: pytest.fail("it was started"))
    monkeypatch.setattr(replacement, "replace", lambda *_: raising(UserError("database", "has no room.")))
    with pytest.raises(UserError, match="has no room"):
        backup.restore(filled, file, yes=True)
    assert "the database is of Airflow 9.9.9, which is newer" in capsys.readouterr().err


def test_a_full_disk_is_a_reason_like_any_other(filled, monkeypatch):
    file = make_backup(filled)
    monkeypatch.setattr(replacement, "replace", lambda *_: raising(OSError(errno.ENOSPC, "No space left", "/x")))
    with pytest.raises(UserError, match=r"^/x: there is no room left"):
        backup.roll_back_to(filled, file)


def raising(error):
    raise error


def make_again(database, version):
    for file in database.file.parent.glob("airflow.db*"):
        file.unlink()
    make_database(database.file, version).close()


def saved_password(engine):
    return secret_files.saved_keys(engine.settings, ["admin_password"])["admin_password"]


def test_a_new_password_of_the_admin_is_taken_in_whenever_the_run_ended(filled, monkeypatch):
    old, new = {**KEYS, "admin_password": "old"}, {**KEYS, "admin_password": "new"}
    secret_files.put(filled.settings, filled.secret_owner, old)
    applied = []

    def answer_with(result):
        def apply_key(name):
            applied.append(saved_password(filled))
            if isinstance(result, BaseException):
                raise result
            return CompletedProcess([], result, "", "it does not fit")

        filled.apply_key = apply_key

    answer_with(1)
    with pytest.raises(UserError, match="it does not fit"):
        replacement.change_admin_password(filled, old, new)
    assert saved_password(filled) == "old"
    replacement.end_interrupted(filled)
    assert applied == ["new"]
    answer_with(Killed())
    with pytest.raises(Killed):
        replacement.change_admin_password(filled, old, new)
    answer_with(0)
    for _ in range(2):
        replacement.end_interrupted(filled)
    assert (saved_password(filled), applied) == ("new", ["new", "new", "new"])


def test_before_a_restart_an_interrupted_restore_is_undone(filled, tmp_path, monkeypatch):
    filled.database.dump(tmp_path / "copy")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(replacement, "_undo", lambda _: raising(Killed()))
        patch.setattr(Sqlite, "swap_in", lambda *_: raising(Killed()))
        replacement.replace(filled, tmp_path / "copy", {name: f"new-{name}" for name in KEYS})
    assert replacement.is_pending(filled)
    monkeypatch.setattr(db_version, "require_same", lambda _: raising(UserError("here", "it ends.", "")))
    with pytest.raises(UserError, match="it ends"):
        preflight.check(filled, [preflight.Need.SAME, preflight.Need.UNDONE])
    assert not replacement.is_pending(filled) and secret_files.saved_keys(filled.settings, KEYS) == KEYS


def test_a_failure_is_undone_at_once(filled, tmp_path, monkeypatch):
    (tmp_path / "bad.db").write_bytes(b"no database")
    before = snapshot(filled.settings.state_dir), snapshot(filled.settings.secrets_dir)
    with pytest.raises(UserError, match="not that of an Airflow"):
        replacement.replace(filled, tmp_path / "bad.db", dict.fromkeys(KEYS, "new"))
    assert (snapshot(filled.settings.state_dir), snapshot(filled.settings.secrets_dir)) == before
    make_database(tmp_path / "new.db", "new").close()

    def fails(self, password):
        self.file.parent.rename(self._before)
        raise UserError("x", "y")

    monkeypatch.setattr(Sqlite, "swap_in", fails)
    with pytest.raises(UserError, match="x: y"):
        replacement.replace(filled, tmp_path / "new.db", dict.fromkeys(KEYS, "new"))
    assert (snapshot(filled.settings.state_dir), snapshot(filled.settings.secrets_dir)) == before


def test_without_a_terminal_a_passphrase_comes_from_the_environment(filled, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.delenv(backup.PASSPHRASE, raising=False)
    with pytest.raises(UserError, match="there is no terminal to ask on"):
        backup.create(filled, filled.settings.state_dir / "it", encrypt=True)
    assert not (filled.settings.state_dir / "it").exists()
    monkeypatch.setenv(backup.PASSPHRASE, "right")
    backup.create(filled, filled.settings.state_dir / "it", encrypt=True)
    assert b"old-fernet_key" not in (filled.settings.state_dir / "it").read_bytes()
    monkeypatch.setenv(backup.PASSPHRASE, "wrong")
    with pytest.raises(UserError, match="the passphrase is wrong"):
        backup.restore(filled, filled.settings.state_dir / "it", yes=True)
    monkeypatch.setenv(backup.PASSPHRASE, "right")
    backup.restore(filled, filled.settings.state_dir / "it", yes=True)
    assert secret_files.saved_keys(filled.settings) == KEYS


def test_the_two_passphrases_must_be_the_same(filled, monkeypatch):
    monkeypatch.delenv(backup.PASSPHRASE, raising=False)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    typed = iter(["one", "two"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    with pytest.raises(UserError, match="the two are not the same"):
        backup.create(filled, filled.settings.state_dir / "it", encrypt=True)


# --- Postgres: what is run ---


def test_no_password_stands_in_a_command(make_settings):
    database = postgres.Postgres(Compose(make_settings("COMPOSE_PROJECT_NAME=p\n")))
    start = database.stack.command()
    assert database.start_command() == [*start, "up", "--detach", "--no-build", "--wait", "postgres"]
    client = [*start, "exec", "-T", "postgres"]
    used, restored = "--dbname=airflow", "--dbname=airflow_restored"
    assert database.dump_command() == [
        *client, "pg_dump", "--username=airflow", used, "--format=custom", "--compress=0",
    ]  # fmt: skip
    assert database.load_command() == [
        *client, "pg_restore", "--username=airflow", restored, "--single-transaction", "--exit-on-error", "--no-owner",
    ]  # fmt: skip
    assert database.sql_command("x") == [
        *client, "psql", "--username=airflow", "--dbname=x", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only",
        "--variable=ON_ERROR_STOP=1", "--variable=VERBOSITY=terse",
    ]  # fmt: skip


def test_a_password_is_quoted_and_its_statement_not_logged():
    text = postgres.swap_sql("it's")
    assert "ALTER ROLE airflow PASSWORD 'it''s';" in text
    assert text.index("log_min_error_statement = 'panic'") < text.index("PASSWORD")
    assert text.index("BEGIN;") < text.index("RENAME") < text.index("PASSWORD") < text.index("COMMIT;")
    assert "PASSWORD" not in postgres.rollback_sql("")


def test_a_program_has_files_for_its_input_and_output(tmp_path):
    (tmp_path / "in").write_bytes(b"\0x")
    result = shell.pipe(["sh", "-c", "cat; echo oh >&2; exit 3"], source=tmp_path / "in", target=tmp_path / "out")
    assert ((tmp_path / "out").read_bytes(), result.stderr, result.returncode) == (b"\0x", b"oh\n", 3)
    with pytest.raises(UserError, match="no-such-program"):
        shell.pipe(["no-such-program"])
