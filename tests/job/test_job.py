"""A copy of the real job: folders created at import, a sensor with a lock, bags and zips, a script that calls the audit
tool, progress in MariaDB, works in S3. The works that arrive are compared with those sent, not with the DAG's report.
"""

import contextlib
import functools
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest
from stack.conftest import WITH_TRUST, run, until

from job import services, works
from job.services import emulator  # noqa: F401  a fixture
from job.works import Work

REPOSITORIES = Path(__file__).parent / "repositories"
SITE = """
s3:
  endpoint: {endpoint}
  web: s3://{web}/Works
  deep_archive: {deep}
"""
SPEED = {
    "AIRFLOW__WEBSERVER__WORKERS": "1",
    "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "30",  # seconds until Airflow notices the task of a killed worker
}
UID = 1001
FOLDERS = ("ARCH_ROOT", "APP_LOG_DIR", "LOGS_DIR", "WORK_DATA_DIR")
SECONDS = 240
PLAIN, BAGGED, PAIR = Work("W1PLAIN", 3), Work("W1BAGGED", 4), (Work("W1LEFT", 1), Work("W1RIGHT", 2))
ALL = sorted((PLAIN, BAGGED, *PAIR), key=lambda work: work.name)


@dataclass
class Job:
    """A project with the job's repositories, and its services."""

    project: object
    database: services.MariaDB
    s3: services.S3
    before: dict

    @property
    def settings(self):
        return self.project.settings

    @property
    def archive(self):
        return self.settings.arch_root / "Archive"

    @property
    def work(self):
        return self.settings.work_data_dir / "work"

    def rows(self):
        steps = ", ".join(f"{step}_on IS NOT NULL" for step in ("unpacked", "synced", "deep_archived"))
        return self.database.sql(f"SELECT name, {steps} FROM drs.work_progress ORDER BY name")

    def send(self):
        """Put all works into the folder in which they arrive."""
        works.zipped(self.work / "ready", PLAIN.name, PLAIN)
        works.bagged(self.work / "ready", BAGGED)
        works.zipped(self.work / "ready", "two-works", *PAIR)

    def wait_for_end(self):
        """Wait until each work has reached its last step and its run has cleaned up."""
        done = [[work.name, "1", "1", "1"] for work in ALL]
        try:
            until(lambda: self.rows() == done and not any((self.work / "in_process").glob("*/*")), SECONDS)
        except AssertionError:
            tries = "select run_id, task_id, state, try_number from task_instance order by start_date"
            logs = sorted(self.settings.logs_dir.rglob("attempt=*.log"), key=lambda log: log.stat().st_mtime)
            tails = [f"{log}:\n{log.read_text(errors='replace')[-3000:]}" for log in logs[-3:]]
            pytest.fail("\n".join([str(self.rows()), self.project.sql(tries), *tails]))

    def compare(self):
        """Check that each work arrived once and complete, and nothing else."""
        assert self.rows() == [[work.name, "1", "1", "1"] for work in ALL]
        assert self.s3.objects(services.WEB) == [f"Works/{work.name}.zip" for work in ALL]
        assert self.s3.objects(services.DEEP) == [f"{work.name}.zip" for work in ALL]
        assert sorted(os.listdir(self.archive)) == [work.name for work in ALL]
        for work in ALL:
            assert works.in_zip(self.s3.ask("GET", f"{services.WEB}/Works/{work.name}.zip")) == work.files
            self.s3.thaw(f"{services.DEEP}/{work.name}.zip")
            assert works.in_zip(self.s3.ask("GET", f"{services.DEEP}/{work.name}.zip")) == work.files
            assert works.in_folder(self.archive / work.name) == work.files
            log = (self.settings.app_log_dir / "sync-logs" / f"{work.name}.log").read_text()
            assert f"{work.images} images" in log and log.endswith(f"{work.name} is synced\n")
        assert owners(self.before) == self.before
        if self.project.engine == "compose" and os.geteuid() == 0:
            assert {file.stat().st_uid for file in self.archive.rglob("*")} == {UID}


def owners(paths):
    """Path -> uid, gid and mode."""
    stats = {path: Path(path).stat() for path in paths}
    return {path: (stat.st_uid, stat.st_gid, stat.st_mode) for path, stat in stats.items()}


def folders(folder, flavour):
    """Folder settings like production: the services' uid owns them, and each holds a file of another user."""
    named = {name: folder / name.lower() for name in FOLDERS}
    for path in named.values():
        path.mkdir()
        (path / "theirs").touch(0o440)
        if flavour != "standalone" and os.geteuid() == 0:
            os.chown(path, UID, UID)
            os.chown(path / "theirs", UID + 1, UID + 1)
    return named


@pytest.fixture(scope="module")
def at(emulator):  # noqa: F811
    """``at(address)`` starts the services there once: the site's file, and so the image, holds the address."""
    services.require_programs()
    with contextlib.ExitStack() as running:

        @functools.cache
        def get(address):
            return tuple(
                running.enter_context(server) for server in (services.mariadb(address), services.s3(address, emulator))
            )

        yield get


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Settings with which two projects on compose share one image."""
    image = f"airflow-docker-test/{secrets.token_hex(4)}"
    return {"AIRFLOW_IMAGE": image, "BUILD_DIR": tmp_path_factory.mktemp("job") / "build"}


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    return works.audit_tool(tmp_path_factory.mktemp("audit-tool"))


@pytest.fixture
def job(request, tmp_path, at, tool, make_project, monkeypatch):
    """A running project with everything that the job needs."""
    flavour, chosen = request.param, SPEED | folders(tmp_path, request.param)
    if flavour == "standalone":
        # On standalone the user installs the tool.
        assert run("dpkg-deb", "--extract", str(tool), str(tmp_path / "installed")).returncode == 0
        monkeypatch.setenv("PATH", f"{(tmp_path / 'installed' / works.LAUNCHER).parent}:{os.environ['PATH']}")
        address = "127.0.0.1"
    else:
        request.getfixturevalue("docker_engine")
        chosen |= request.getfixturevalue("shared") | ({"AIRFLOW_UID": UID} if os.geteuid() == 0 else {})
        chosen |= {"WORKERS": 2} if flavour == "compose-celery" else {}
        bridge = "{{(index .IPAM.Config 0).Gateway}}"
        address = run("docker", "network", "inspect", "bridge", "--format", bridge).stdout.strip()
    database, s3 = at(address)
    site = tmp_path / "site-sync.yml"
    site.write_text(SITE.format(endpoint=s3.endpoint, web=services.WEB, deep=services.DEEP))
    aws = {section: {"aws_access_key_id": key, "aws_secret_access_key": "x", "region_name": "us-east-1"}
           for section, key in s3.keys.items()}  # fmt: skip
    project = make_project(
        flavour, tmp_path, repositories=REPOSITORIES, **chosen, PYDEV_DEBUG="YES", SYSTEM_PACKAGES="rsync", AUDIT_TOOL_DEB=tool,
        SITE_CONFIG=f"{site}:.config/bdrc/site-sync.yml", SECRET_DB_APPS__qa__server="qa",
        **{f"SECRET_DRS_CNF__qa__{key}": value for key, value in database.option_file.items()},
        **{f"SECRET_AWS__{section}__{key}": value for section, keys in aws.items() for key, value in keys.items()},
    )  # fmt: skip
    database.sql(services.TABLE)
    s3.empty()
    job = Job(project, database, s3, owners([f for name in FOLDERS for f in (chosen[name], chosen[name] / "theirs")]))
    try:
        project.inv()
        until((job.work / "ready").is_dir, 60)  # the scheduler has imported the DAG file
        yield job
    finally:
        project.remove()


@pytest.mark.parametrize("job", ["standalone", pytest.param("compose", marks=WITH_TRUST)], indirect=True)
def test_each_work_arrives_whole_and_once(job):
    job.send()
    job.wait_for_end()
    job.compare()


@pytest.mark.parametrize("job", ["compose-celery"], indirect=True)
def test_a_work_whose_worker_was_killed_in_the_middle_of_its_sync_arrives_once_too(job):
    hold = job.archive / "HOLD"
    job.archive.mkdir()
    hold.touch()
    if os.geteuid() == 0:
        os.chown(job.archive, UID, UID)
    job.send()
    until(lambda: job.s3.objects(services.WEB), 120)
    assert job.s3.objects(services.WEB) == [f"Works/.{BAGGED.name}.part"]
    run_id, worker = job.project.sql(
        "select run_id, hostname from task_instance where task_id = 'sync' and state = 'running'"
    ).split("|")
    job.project.docker("kill", worker)
    hold.unlink()
    job.wait_for_end()
    job.compare()
    of_the_killed = f"where task_id = 'sync' and run_id = '{run_id}'"
    tried = job.project.sql(f"select state, try_number > 1, hostname <> '{worker}' from task_instance {of_the_killed}")
    assert tried == "success|t|t"
