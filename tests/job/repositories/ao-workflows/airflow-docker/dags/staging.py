"""Where works lie while they are worked on, and what the tasks reach other machines with."""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

import boto3
import yaml
from airflow.sensors.base import BaseSensorOperator, PokeReturnValue

SECRETS = Path("/run/secrets")
DATA = Path.home() / "bdrc" / "data"
INCOMING = DATA / "Incoming"
READY = DATA / "work" / "ready"
IN_PROCESS = DATA / "work" / "in_process"
SITE = Path.home() / ".config" / "bdrc" / "site-sync.yml"


@contextlib.contextmanager
def lock():
    """Held by one sensor at a time."""
    with (DATA / "work" / "sensor.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_folder(context):
    """What one run works in."""
    return IN_PROCESS / context["ts_nodash"]


def empty_folder(context, name):
    """A folder of the run, without what an earlier try has left."""
    folder = run_folder(context) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class TakeOneZip(BaseSensorOperator):
    """Moves the first zip that is ready into the run's own folder; a second try finds the one that is there."""

    def poke(self, context):
        own = run_folder(context)
        own.mkdir(exist_ok=True)
        with lock():
            ready = sorted(READY.glob("*.zip"))
            if not any(own.glob("*.zip")) and ready:
                shutil.move(ready[0], own / ready[0].name)
            taken = sorted(own.glob("*.zip"))
        return PokeReturnValue(bool(taken), str(taken[0]) if taken else None)


def site():
    """Configuration that is no secret."""
    return yaml.safe_load(SITE.read_text())["s3"]


def database():
    """In the form of bdrc-db-lib: alias and file."""
    return "qa:/run/secrets/db_apps" if SECRETS.exists() else "qa:~/.config/bdrc/db_apps.config"


def aws():
    """The file of the credentials."""
    return str(SECRETS / "aws") if SECRETS.exists() else os.environ["AWS_SHARED_CREDENTIALS_FILE"]


def s3(section):
    """A client with the credentials of a section."""
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = aws()
    return boto3.Session(profile_name=section).client("s3", endpoint_url=site()["endpoint"])
