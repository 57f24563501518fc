"""Daily operations between up and down on each engine, and their errors."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import INV

from airflow_docker import PROJECT
from airflow_docker.engines.standalone import logs
from stack.conftest import FLAVOURS, run, until

QUICK = """
from datetime import datetime
from airflow.decorators import dag, task

@dag(schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False)
def quick():
    @task
    def work(**context):
        word = context["dag_run"].conf.get("word", "nothing")
        print("the word is", word)
        if word == "fail":
            raise ValueError("as asked")
    work()
quick()
"""


@pytest.fixture
def quick(stack, dags):
    # Wait for a new parse: the DAG of the previous test may still be known and be removed soon.
    parsed = f"select last_parsed_time from dag where dag_id = 'quick' and {stack.release.is_known}"
    before = stack.sql(parsed)
    (dags / "quick.py").write_text(QUICK)
    until(lambda: stack.sql(parsed) not in ("", before))


@pytest.mark.on(*FLAVOURS)
def test_logs_of_one_service_with_tail_and_since(stack):
    output = stack.inv("logs", "scheduler", "--tail", "5", shows_services=True)
    lines = [line for line in output.splitlines() if line.strip()]
    assert 1 <= len(lines) <= 5 and all(line.startswith("scheduler") for line in lines)
    everything = stack.inv("logs", shows_services=True)
    services_with_logs = {re.sub(r"-\d+$", "", line.split()[0]) for line in everything.splitlines() if " | " in line}
    assert services_with_logs >= {*stack.release.commands, stack.task_service}
    assert len(stack.inv("logs", "--since", "1s", shows_services=True).splitlines()) < len(everything.splitlines())
    recent = stack.inv("logs", "--since", "3h", shows_services=True)
    assert len(recent.splitlines()) >= len(everything.splitlines())
    if stack.engine == "standalone":
        moments = [logs.moment_of(line.partition(" | ")[2]) for line in recent.splitlines()]
        assert (known := [moment for moment in moments if moment]) == sorted(known)
        assert len(known) > len(moments) / 2
    assert "nope: there is no such service. There are: " in stack.inv("logs", "nope", code=2)
    assert "--since: 'yesterday' is neither a duration nor a time." in stack.inv("logs", "--since", "yesterday", code=2)
    assert "--tail: 'x' is not a number of lines." in stack.inv("logs", "--tail", "x", code=2)


def test_logs_are_followed_until_they_are_not(stack):
    command = [*INV, "logs", "webserver", "--follow", "--tail", "0"]
    with subprocess.Popen(command, env=stack.environ, stdout=subprocess.PIPE, text=True) as following:
        try:
            time.sleep(2)
            url = f"http://127.0.0.1:{stack.settings.airflow_port}/login/?followed=yes"
            urllib.request.urlopen(url, timeout=30).close()
            assert any("followed=yes" in line for line in iter(following.stdout.readline, ""))
        finally:
            following.send_signal(signal.SIGINT)
        assert following.wait(10) in (1, 130, -signal.SIGINT)


@pytest.mark.on(*FLAVOURS)
def test_airflows_own_commands_keep_arguments_input_and_exit_code(stack):
    assert stack.inv("airflow", "variables set --description 'two words' key 'a b'")
    assert stack.sql("select description from variable where key = 'key'") == "two words"
    assert "a b" in stack.inv("airflow", "variables get key")
    answered = run(*INV, "airflow", "dags delete nope", env=stack.environ, input="n\n")
    assert answered.returncode == 0 and "Cancelled" in answered.stdout
    assert "invalid choice" in stack.inv("airflow", "nonsense", code=2)
    assert "No closing quotation" in stack.inv("airflow", "variables get 'key", code=2)


def test_a_shell_is_where_the_tasks_are(stack):
    script = "command -v syncOneWork.sh; echo $ARCH_ROOT; exit 7"
    shown = run(*INV, "shell", env=stack.environ, input=script)
    assert shown.returncode == 7
    assert "syncOneWork.sh" in shown.stdout and stack.option("ARCH_ROOT") in shown.stdout
    assert "There are: " in stack.inv("shell", "nope", code=2)


def since(stack, service):
    return {s["name"]: s["since"] for s in stack.json("status")["services"]}[service]


def test_restart_of_one_service(stack):
    service = stack.release.page
    before = since(stack, service), since(stack, "triggerer")
    assert f"{service} is healthy" in stack.inv("restart", service)
    assert since(stack, service) > before[0] and since(stack, "triggerer") == before[1]
    assert stack.json("status")["state"] == "healthy"


def test_restart_of_what_does_not_run(stack):
    stack.inv("down")
    for args in (["--run", "sample_sync"], ["--run", "sample_sync", "--follow", "x"]):
        assert "is not running. Type: inv up" in stack.inv("dags", *args, code=1)
    stack.inv("restart")
    assert stack.json("status")["state"] == "healthy"
    assert "Already up and healthy" in stack.inv("up")
    assert "There are: " in stack.inv("restart", "nope", code=2)


@pytest.mark.on(*FLAVOURS)
def test_a_dag_is_run_and_the_exit_code_says_how_it_ended(stack, quick):
    output = stack.inv("dags", "--run", "quick", "--conf", '{"word": "marker-word"}')
    assert "✓ work: success" in output and "✓ quick has succeeded" in output
    logs = [f.read_text() for f in stack.settings.logs_dir.glob("dag_id=quick/**/*.log")]
    assert any("the word is marker-word" in text for text in logs)
    output = stack.inv("dags", "--run", "quick", "--conf", '{"word": "fail"}', code=1)
    assert "✗ work: failed" in output and "quick: the run has failed (work)." in output
    assert "ValueError: as asked" in output and re.search(r"Read on: /.*attempt=1.log", output)
    assert "knows no such DAG" in stack.inv("dags", "--run", "nope", code=1)
    assert "--conf: is not JSON" in stack.inv("dags", "--run", "quick", "--conf", "{", code=2)
    stack.inv("airflow", "dags pause quick")
    assert "Type: inv dags --run quick --unpause" in stack.inv("dags", "--run", "quick", code=1)
    stack.inv("airflow", "dags unpause quick")


@pytest.mark.on(*FLAVOURS)
def test_status_in_json_has_the_documented_form(stack):
    status = stack.json("status")
    documented = (PROJECT / "docs" / "daily.md").read_text().partition("`inv status --json`, on standard output:")[2]
    fields = set(re.findall(r"^\| `([a-z_0-9.\[\]]+)` \|", documented.partition("\n## ")[0], re.M))
    assert fields == paths(status)
    assert status["repositories"]["ao-workflows"]["behind"] == 0 and status["secrets"] == "fresh"
    assert status["dags"]["loaded"] >= 1 and status["disk"]["database"] > 0


def paths(value, prefix=""):
    """The paths of all fields; lists, and mappings whose keys are data, are written as []."""
    if isinstance(value, list):
        return set().union(*(paths(item, f"{prefix}[]") for item in value)) if value else {prefix}
    if not isinstance(value, dict):
        return {prefix}
    by_data = prefix in ("repositories", "dags.runs_24h")
    fields = set()
    for name, item in value.items():
        fields |= paths(item, f"{prefix}[]" if by_data else f"{prefix}.{name}".lstrip("."))
    return fields


def test_status_counts_commits_that_are_not_built_and_stale_secrets(stack):
    checkout = stack.settings.ao_dev_dir
    head = run("git", "-C", str(checkout), "rev-parse", "HEAD").stdout.strip()
    who = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    try:
        run("git", "-C", str(checkout), *who, "commit", "--quiet", "--allow-empty", "--message", "x")
        assert stack.json("status")["repositories"]["archive-ops"]["behind"] == 1
        assert "1 commit behind" in stack.inv("status")
    finally:
        run("git", "-C", str(checkout), "reset", "--quiet", "--hard", head)
    key = "SECRET_AWS__default__aws_secret_access_key"
    before = stack.values[key]
    stack.set(**{key: "another"})
    assert stack.json("status")["secrets"] == "stale"
    stack.set(**{key: before})


def test_all_stacks_of_this_machine_are_listed(stack):
    name = stack.settings.compose_project_name
    entries = {entry["project"]: entry for entry in stack.json("status", "--all")}
    services = [service for service in stack.json("status")["services"] if service["name"] != "init"]
    assert entries[name]["engine"] == stack.engine and entries[name]["running"] == entries[name]["services"] == len(
        services
    )
    assert name in stack.inv("status", "--all")


def test_before_anything_runs_each_verb_says_so(project):
    assert "is not running" in project.inv("status", code=3)
    assert "is not running" in project.inv("logs")
    for verb in (["shell"], ["restart"], ["airflow", "dags list"], ["dags"], ["dags", "--run", "x"]):
        assert "nothing has been built yet. Type: inv up" in project.inv(*verb, code=1), verb
    assert project.inv("clean")


def test_a_folder_without_a_dag_is_an_error_and_no_stack_is_needed(project):
    project.inv("pull", "build")
    dags = project.settings.workflow_dev_dir / project.settings.dags_dir
    assert "sample_sync" in project.inv("dags")
    (dags / "sample_sync.py").unlink()
    assert "DAGS_DIR: there is no DAG in" in project.inv("dags", code=1)
    assert not project.running()


def test_clean_shows_all_and_removes_what_is_named_and_not_in_use(project, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "airflow-docker").mkdir(parents=True)
    (tmp_path / "cache" / "airflow-docker" / "download").write_text("x")
    project.inv("pull", "build")
    first = project.json_of_build()["artifact"]
    script = project.settings.ao_dev_dir / "scripts/syncAnywhere/syncOneWork.sh"
    script.write_text(script.read_text() + "# more\n")
    project.inv("build")
    second = project.json_of_build()["artifact"]
    old, new = ("run_id=old", "run_id=new")
    for run_id in (old, new):
        (project.settings.logs_dir / "dag_id=x" / run_id).mkdir(parents=True)
        log = project.settings.logs_dir / "dag_id=x" / run_id / "attempt=1.log"
        log.write_text("x")
        if run_id == old:
            os.utime(log, (1e9, 1e9))
    (project.settings.logs_dir / "mine.txt").write_text("x")
    os.utime(project.settings.logs_dir / "mine.txt", (1e9, 1e9))
    if project.engine == "compose" and os.geteuid() == 0:
        os.chown(project.settings.logs_dir, project.settings.airflow_uid, -1)
    output = project.inv("clean")
    assert "download" in output and old in output and new not in output and "mine.txt" not in output
    assert second not in output and (first in output) == (project.engine == "compose")
    assert "there is no terminal to ask on" in project.inv("clean", "--logs", code=2)
    project.inv("clean", "--images", "--build", "--downloads", "--logs", "--yes")
    assert not (project.settings.logs_dir / "dag_id=x" / old).exists()
    assert (project.settings.logs_dir / "dag_id=x" / new).exists() and (project.settings.logs_dir / "mine.txt").exists()
    assert not (tmp_path / "cache" / "airflow-docker" / "download").exists()
    assert not (project.settings.build_dir / "bin").exists()
    output = project.inv("clean")
    assert first not in output and "There is nothing to remove" in output
    project.inv("up", "--no-build")  # the last build is still there
    assert "--older-than: 'x' is not" in project.inv("clean", "--older-than", "x", code=2)


def test_with_the_database_down_status_is_true(project):
    project.inv("up")
    if project.engine == "compose":
        run("docker", "stop", project.container("postgres"))
    else:
        project.stack.database_file.rename(project.stack.database_file.with_suffix(".away"))
    now = project.json("status")
    assert now["state"] == "unhealthy" and now["dags"] is None
    assert "not all services are well" in project.inv("status", code=1)
    output = project.inv("dags", "--run", "sample_sync", code=1)
    assert re.search(r"cannot be queried|not running", output)
    if project.engine == "standalone":  # services have created a new file: stop them before the old one is put back
        project.inv("down")
        for left in project.stack.database_file.parent.glob("airflow.db*"):
            left.unlink()
        project.stack.database_file.with_suffix(".away").rename(project.stack.database_file)
    project.inv("up")
    assert project.json("status")["state"] == "healthy"


def test_another_env_is_another_installation(project, tmp_path):
    """--env NAME reads .env.NAME beside tasks.py, so this runs in a copy."""
    checkout = tmp_path / "copy"
    for name in run("git", "-C", str(PROJECT), "ls-files").stdout.splitlines():
        if (PROJECT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((PROJECT / name).read_bytes())
    (checkout / ".env.staging").write_text("AIRFLOW_PORT=18099\nCOMPOSE_PROJECT_NAME=staging\n")
    command = [sys.executable, str(checkout / "airflow_docker"), "--search-root", str(checkout)]
    environ = {k: v for k, v in project.environ.items() if k != "ENV_FILE"}
    for args in (["--env", "staging", "config", "--json"], ["config", "--json", "--env", "staging"]):
        shown = run(*command, *args, env=environ)
        assert shown.returncode == 0, shown.stderr
        values = json.loads(shown.stdout)
        assert "18099" in json.dumps(values)
    other = run(*command, "--env", "nope", "config", env=environ)
    assert other.returncode == 2 and "There are: staging." in other.stderr


MEANT = {"SERVICE": "scheduler", "DAG": "quick", "FILE": "requirements.txt", '{"key": "value"}': '{"word": "x"}'}
NOT_HERE = (
    "--volumes",
    "--follow",
    "--env staging",
    "inv shell",
    "inv down",
    "--images",
    "--quiet up",
    "restore",
    "inv upgrade",
)
NOT_THERE = {"inv helm": ("standalone",), "inv scale": ("standalone", "compose")}
"""Command -> engines that refuse it with one sentence."""


def documented():
    """The commands in the table `Every day` of docs/daily.md."""
    table = (PROJECT / "docs" / "daily.md").read_text().partition("## Every day")[2].partition("\n## ")[0]
    commands = re.findall(r"`(inv [^`]+)`", table)
    assert len(commands) > 12
    return [command for command in commands if not any(part in command for part in NOT_HERE)]


@pytest.mark.parametrize("command", documented())
def test_what_the_operators_guide_says_can_be_typed(stack, quick, command, tmp_path):
    if "--requirements" in command:  # for other commands FILE is an output
        (tmp_path / "requirements.txt").write_text("humanize\nxxhash\n")
    for word, meant in MEANT.items():
        command = command.replace(word, meant)
    args = shlex.split(command)[1:]
    environ = stack.environ
    if args[0] == "helm":  # a cluster cannot clone from this machine
        environ |= {"AO_WORKFLOWS_URL": "https://git.example.org/workflows.git"}
    result = run(*INV, *args, env=environ, cwd=tmp_path, stdin=subprocess.DEVNULL)
    strict = "--strict" in args  # whose exit code depends on the base image
    refused = stack.engine in NOT_THERE.get(f"inv {args[0]}", ())
    assert result.returncode == (1 if refused else 0) or (strict and result.returncode == 1), result.stderr
    assert not refused or re.fullmatch(r"\S.*: .+\. (Set|Type) .+", result.stderr.strip()), result.stderr
    stack.inv("build")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder))
    if mounted.returncode and os.environ.get("CI") == "true":
        pytest.fail(f"a small tmpfs is needed in CI: {mounted.stderr}")
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    try:
        yield folder
    finally:
        run("umount", "--lazy", str(folder))


@pytest.mark.parametrize("setting", ["STATE_DIR", "BUILD_DIR", "SECRETS_DIR"])
def test_a_full_disk_is_reported_and_nothing_is_partly_written(project, small_disk, setting):
    project.inv("pull")
    project.set(**{setting: str(small_disk / "x")})
    (small_disk / "filler").write_bytes(b"x" * 60 * 1024)
    with (small_disk / "filler").open("ab", buffering=0) as filler:
        while True:
            try:
                filler.write(b"x" * 512)
            except OSError:
                break
    output = project.inv("up", "--timeout", "60", code=1)
    assert re.search(r"no room left|No space left|no space left", output), output
    assert not [
        f for f in (small_disk / "x").rglob("*") if f.is_file() and not f.stat().st_size and f.suffix == ".json"
    ]
    project.set(**{setting: str(project.folder / "roomy")})
    project.inv("build")
