"""Wait for a zipped work, unpack it, hand it to syncOneWork.sh, record what was done."""

import configparser
import json
import os
import shutil
import subprocess
import zipfile
from datetime import datetime, timezone
from pathlib import Path

import humanize
from airflow.decorators import dag, task
from airflow.sensors.base import PokeReturnValue

ARCH_ROOT = Path(os.environ.get("ARCH_ROOT", "/mnt"))
INCOMING = ARCH_ROOT / "sync-transfer"
ARCHIVE = ARCH_ROOT / "Archive"
WORK = Path.home() / "bdrc" / "data" / "work"
LOG = Path.home() / "bdrc" / "log"
AWS = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "/run/secrets/aws"))


@dag(
    schedule="@continuous",
    start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    tags=["sample"],
)
def sample_sync():
    @task.sensor(poke_interval=3, timeout=7 * 24 * 3600, mode="poke")
    def wait_for_zip() -> PokeReturnValue:
        """Take the first zip that is there, so that no other run takes it too."""
        taken = WORK / "in_process"
        taken.mkdir(parents=True, exist_ok=True)
        for zipped in sorted(INCOMING.glob("*.zip")):
            return PokeReturnValue(is_done=True, xcom_value=shutil.move(str(zipped), str(taken / zipped.name)))
        return PokeReturnValue(is_done=False)

    @task
    def unpack(zipped: str) -> str:
        """The folder of the work, named like the zip."""
        target = WORK / "unpacked"
        with zipfile.ZipFile(zipped) as archive:
            archive.extractall(target)
        return str(target / Path(zipped).stem)

    @task
    def sync(work: str) -> str:
        """syncOneWork.sh is on PATH: it comes from the other repository."""
        command = ["syncOneWork.sh", "-a", str(ARCHIVE), work]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout)  # into the task's log, where people look for it
        done.check_returncode()
        return str(ARCHIVE / Path(work).name)

    @task
    def record(zipped: str, work: str, archived: str) -> None:
        """Note the work in the application log and clear the work folder. Names of credentials, never values."""
        credentials = configparser.ConfigParser()
        credentials.read(AWS)
        size = sum(f.stat().st_size for f in Path(archived).rglob("*") if f.is_file())
        entry = {
            "work": Path(archived).name,
            "size": humanize.naturalsize(size),
            "archived": archived,
            "credentials": credentials.sections(),
        }
        with (LOG / "synced.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")
        shutil.rmtree(work)
        Path(zipped).unlink()

    zipped = wait_for_zip()
    work = unpack(zipped)
    record(zipped, work, sync(work))


sample_sync()
