"""One zip at a time: taken, unpacked, synced by syncOneWork.sh, copied to the deep archive, tidied up."""

import os
import shlex
import shutil
import tempfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import progress
import staging
from airflow import DAG
from airflow.decorators import task
from airflow.exceptions import AirflowException
from airflow.operators.bash import BashOperator
from bag import bag_ops

DEVELOPMENT = os.environ.get("PYDEV_DEBUG") == "YES"
ARCHIVE = (Path("/mnt") if staging.SECRETS.exists() else Path.home() / "dev" / "tmp") / "Archive"
LOGS = Path.home() / "bdrc" / "log" / "sync-logs"

for folder in (staging.READY, staging.IN_PROCESS, staging.INCOMING):
    folder.mkdir(parents=True, exist_ok=True)


def unpacked(context):
    """The works that the one branch which ran has unpacked."""
    results = context["ti"].xcom_pull(task_ids=["debag", "unzip"])
    return [Path(work) for works in results if works for work in works]


def note_all(works, step):
    for work in works:
        progress.note(Path(work).name, step)


@task.branch
def which_file(zipped):
    return "debag" if zipped.endswith(".bag.zip") else "unzip"


@task
def debag(zipped, **context):
    """bag_ops removes the zip that it has read, so it gets a copy: a second try finds the zip again."""
    target = staging.empty_folder(context, "debag")
    works = bag_ops.debag(shutil.copy(zipped, target), str(target))
    if not works:
        raise AirflowException(f"{zipped} holds no valid bag.")
    note_all(works, "unpacked_on")
    return [str(work) for work in works]


@task
def unzip(zipped, **context):
    target = staging.empty_folder(context, "unzip")
    with zipfile.ZipFile(zipped) as archive:
        archive.extractall(target)
    works = sorted(str(work) for work in target.iterdir())
    note_all(works, "unpacked_on")
    return works


@task(trigger_rule="none_failed")
def sync(**context):
    LOGS.mkdir(parents=True, exist_ok=True)
    for work in unpacked(context):
        command = shlex.join(["syncOneWork.sh", "-a", str(ARCHIVE), "-w", staging.site()["web"], str(work)])
        log = shlex.quote(str(LOGS / f"{work.name}.log"))
        BashOperator(
            task_id="sync_one_work",
            bash_command=f"{command} 2>&1 | tee -a {log}\nexit ${{PIPESTATUS[0]}}",
            env={name: os.environ[name] for name in ("PATH", "HOME")} | {"AWS_SHARED_CREDENTIALS_FILE": staging.aws()},
        ).execute(context)
        progress.note(work.name, "synced_on")


@task
def deep_archive(**context):
    s3 = staging.s3("ap_northeast")
    for work in unpacked(context):
        with tempfile.TemporaryDirectory() as place:
            packed = shutil.make_archive(f"{place}/{work.name}", "zip", ARCHIVE / work.name)
            s3.upload_file(
                packed, staging.site()["deep_archive"], f"{work.name}.zip", ExtraArgs={"StorageClass": "DEEP_ARCHIVE"}
            )
        progress.note(work.name, "deep_archived_on")


@task
def cleanup(**context):
    shutil.rmtree(staging.run_folder(context))


with DAG(
    "archive_works",
    schedule="@continuous",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=not DEVELOPMENT,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
):
    taken = staging.TakeOneZip(task_id="wait_for_file", poke_interval=2)
    branch = which_file(taken.output)
    ways = [debag(taken.output), unzip(taken.output)]
    branch >> ways >> sync() >> deep_archive() >> cleanup()
