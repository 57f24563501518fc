"""Values for the official Helm chart from the settings, and the commands that make the Secrets they name."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from airflow_docker import PROJECT, secret_files
from airflow_docker.errors import UserError
from airflow_docker.verbs import helm, helm_values
from airflow_docker.verbs.helm_values import Image

NAMED = "COMPOSE_PROJECT_NAME=af\nAIRFLOW_UID=1001\nTZ=UTC\n"
IMAGE = Image("registry.example.org/team/airflow", "0123456789ab")
VERSIONS, EXECUTORS = ("2.11.2", "3.3.2"), ("LocalExecutor", "CeleryExecutor")

# Facts of the chart's values.schema.json (charts 1.20 to 1.22): the keys that are used here, and their types;
# a table stands for the keys below it, a list for its items.
ENV = [{"name": str, "value": str}]
VOLUMES = [
    {
        "name": str,
        "emptyDir": {"medium": str, "sizeLimit": str},
        "hostPath": {"path": str, "type": str},
        "persistentVolumeClaim": {"claimName": str},
        "secret": {"secretName": str, "defaultMode": int},
    }
]
MOUNTS = [{"name": str, "mountPath": str, "subPath": str, "readOnly": bool}]
LIMIT = {"resources": {"limits": {"memory": str}}}
RUNS_TASKS = {**LIMIT, "env": ENV, "extraVolumes": VOLUMES, "extraVolumeMounts": MOUNTS}
CLAIM = {"enabled": bool, "existingClaim": str}
CHART = {
    "fullnameOverride": str,
    "useStandardNaming": bool,
    "defaultAirflowRepository": str,
    "defaultAirflowTag": str,
    "defaultAirflowDigest": str,
    "airflowVersion": str,
    "executor": str,
    "uid": int,
    "gid": int,
    "env": ENV,
    "config": {"webserver": {"base_url": str}, "api": {"base_url": str}},
    "fernetKeySecretName": str,
    "webserverSecretKeySecretName": str,
    "apiSecretKeySecretName": str,
    "jwtSecretName": str,
    "data": {"metadataSecretName": str, "brokerUrlSecretName": str},
    # The chart passes on what it does not know itself, to the chart of its database.
    "postgresql": {
        "enabled": bool,
        "fullnameOverride": str,
        "auth": {"enablePostgresUser": bool, "username": str, "database": str, "existingSecret": str},
    },
    "redis": {"enabled": bool, "passwordSecretName": str},
    "images": {"redis": {"repository": str, "tag": str}},
    "dags": {
        "persistence": CLAIM,
        "gitSync": {
            **{name: str for name in ("repo", "ref", "branch", "subPath", "sshKeySecret", "credentialsSecret")},
            "enabled": bool,
        },
    },
    "logs": {"persistence": CLAIM},
    "createUserJob": {"args": [str], "env": ENV, "extraVolumes": VOLUMES, "extraVolumeMounts": MOUNTS},
    "scheduler": RUNS_TASKS,
    "webserver": LIMIT,
    "apiServer": LIMIT,
    "dagProcessor": LIMIT,
    "triggerer": LIMIT,
    "workers": {"celery": {"replicas": int, **RUNS_TASKS}},
}


def misfits(value, kind, where=""):
    """What of the values is not in the table, or of another type."""
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            return [where]
        return [
            bad for key in value for bad in (misfits(value[key], kind[key], f"{where}.{key}") if key in kind else [key])
        ]
    if isinstance(kind, list):
        return [bad for item in value for bad in misfits(item, kind[0], f"{where}[]")]
    return [] if type(value) is kind else [where]


@pytest.fixture
def settings(make_settings):
    """Settings with these lines besides, and whoever runs the tasks."""

    def make(text="", executor="LocalExecutor", workers=3, redis_image="redis:7.2", **environ):
        scale = f"EXECUTOR={executor}\nWORKERS={workers}\nREDIS_IMAGE={redis_image}\n"
        return make_settings(NAMED + scale + text, **environ)

    return make


def values(settings, **claims):
    return helm_values.values(settings, IMAGE, claims)


TASKS = {
    "env": [{"name": "ARCH_ROOT", "value": "/mnt"}, {"name": "PYDEV_DEBUG", "value": "NO"}],
    "extraVolumes": [
        {"name": "task-secrets", "secret": {"secretName": "af-tasks", "defaultMode": 0o440}},
        {"name": "app-log-dir", "emptyDir": {}},
        {"name": "work-data-dir", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    ],
    "extraVolumeMounts": [
        *(
            {"name": "task-secrets", "mountPath": f"/run/secrets/{key}", "subPath": key, "readOnly": True}
            for key in ("db_apps", "drs_cnf", "aws")
        ),
        {"name": "app-log-dir", "mountPath": "/home/airflow/bdrc/log"},
        {"name": "app-log-dir", "mountPath": "/home/airflow/log"},
        {"name": "work-data-dir", "mountPath": "/home/airflow/bdrc/data"},
        {"name": "shm", "mountPath": "/dev/shm"},
    ],
}


def test_the_plainest_settings_in_the_words_of_the_chart(settings):
    assert values(settings()) == {
        "fullnameOverride": "af",
        "useStandardNaming": True,
        "defaultAirflowRepository": "registry.example.org/team/airflow",
        "defaultAirflowTag": "0123456789ab",
        "airflowVersion": "2.11.2",
        "executor": "LocalExecutor",
        "uid": 1001,
        "gid": 0,
        "env": [{"name": "TZ", "value": "UTC"}],
        "fernetKeySecretName": "af-fernet-key",
        "webserverSecretKeySecretName": "af-webserver-secret-key",
        "data": {"metadataSecretName": "af-metadata"},
        "postgresql": {
            "enabled": True,
            "fullnameOverride": "af-postgres",
            "auth": {
                "enablePostgresUser": False, "username": "airflow", "database": "airflow",
                "existingSecret": "af-postgres",
            },
        },
        "redis": {"enabled": False},
        "dags": {
            "gitSync": {
                "enabled": True, "repo": "https://github.com/buda-base/ao-workflows.git", "ref": "HEAD",
                "branch": "HEAD", "subPath": "airflow-docker/dags",
            }
        },
        "createUserJob": {
            "args": ["python", "/opt/airflow-docker/init.py"],
            "env": [{"name": "AIRFLOW_ADMIN_USER", "value": "admin"}],
            "extraVolumes": [{"name": "admin", "secret": {"secretName": "af-admin", "defaultMode": 0o440}}],
            "extraVolumeMounts": [
                {"name": "admin", "mountPath": "/run/secrets/admin_password", "subPath": "admin_password",
                 "readOnly": True}
            ],
        },
        "scheduler": TASKS,
    }  # fmt: skip


def test_workers_have_what_the_tasks_need_and_the_scheduler_has_not(settings):
    chart_values = values(settings("MEMORY_LIMIT=512m\n", executor="CeleryExecutor"))
    limit = {"resources": {"limits": {"memory": "512Mi"}}}
    assert chart_values["workers"] == {"celery": {"replicas": 3, **limit, **TASKS}}
    assert chart_values["scheduler"] == chart_values["webserver"] == chart_values["triggerer"] == limit
    assert chart_values["data"] == {"metadataSecretName": "af-metadata", "brokerUrlSecretName": "af-broker"}
    assert chart_values["redis"] == {"enabled": True, "passwordSecretName": "af-redis"}
    assert chart_values["images"] == {"redis": {"repository": "redis", "tag": "7.2"}}


@pytest.mark.parametrize("name", ["redis:7.2", "host:5000/redis", f"redis:7.2@sha256:{'a' * 64}"])
def test_the_image_of_redis_is_what_the_chart_makes_of_its_two_halves(settings, name):
    halves = values(settings(executor="CeleryExecutor", redis_image=name))["images"]["redis"]
    all_values = f"{halves['repository']}:{halves['tag']}"
    assert all_values == (name if name != "host:5000/redis" else f"{name}:latest")


def test_airflow_3_has_other_services_and_keys(settings):
    chart_values = values(settings("AIRFLOW_VERSION=3.3.2\nMEMORY_LIMIT=4g\n"))
    assert chart_values["airflowVersion"] == "3.3.2"
    assert (
        chart_values["apiSecretKeySecretName"] == "af-api-secret-key"
        and chart_values["jwtSecretName"] == "af-jwt-secret"
    )
    limit = {"resources": {"limits": {"memory": "4Gi"}}}
    assert chart_values["apiServer"] == chart_values["dagProcessor"] == chart_values["triggerer"] == limit
    assert not {"webserver", "workers", "webserverSecretKeySecretName"} & set(chart_values)


def test_a_digest_is_named_where_it_is_known(settings):
    image = Image("team/airflow", "0123456789ab", "sha256:" + "a" * 64)
    chart_values = helm_values.values(settings(), image, {})
    assert (
        chart_values["defaultAirflowDigest"] == "sha256:" + "a" * 64
        and chart_values["defaultAirflowTag"] == "0123456789ab"
    )


def test_folders_are_claims_or_what_is_named_or_nothing(settings):
    text = "SHM_SIZE=64m\nARCH_ROOT=/mnt\nARCHIVE2_DIR=/nas/two\nAPP_LOG_DIR=/var/log/app\nEXTRA_MOUNTS=/a:/b,/data:/data\n"
    chart_values = values(settings(text), ARCHIVE0_DIR="zero", WORK_DATA_DIR="work", **{"/b": "extra"})["scheduler"]
    assert chart_values["extraVolumes"][1:] == [
        {"name": "app-log-dir", "hostPath": {"path": "/var/log/app", "type": "Directory"}},
        {"name": "work-data-dir", "persistentVolumeClaim": {"claimName": "work"}},
        {"name": "arch-root", "hostPath": {"path": "/mnt", "type": "Directory"}},
        {"name": "archive0-dir", "persistentVolumeClaim": {"claimName": "zero"}},
        {"name": "archive2-dir", "hostPath": {"path": "/nas/two", "type": "Directory"}},
        {"name": "extra-0", "persistentVolumeClaim": {"claimName": "extra"}},
        {"name": "extra-1", "hostPath": {"path": "/data", "type": "Directory"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
    ]
    assert chart_values["extraVolumeMounts"][6:] == [
        {"name": "arch-root", "mountPath": "/mnt"},
        {"name": "archive0-dir", "mountPath": "/home/airflow/extern/Archive0"},
        {"name": "archive2-dir", "mountPath": "/home/airflow/extern/Archive2"},
        {"name": "extra-0", "mountPath": "/b"},
        {"name": "extra-1", "mountPath": "/data"},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]


def test_folders_and_secrets_are_where_compose_has_them():
    scheduler = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]["scheduler"]
    there = {(v["source"].strip("${}"), v["target"]) for v in scheduler["volumes"]}
    ours = {(name, path) for name, paths in helm_values.FOLDERS.items() for path in paths}
    assert {pair for pair in there if pair[1].startswith(("/home", "/mnt"))} == ours
    assert (
        {"db_apps", "drs_cnf", "aws"} == {name.lower() for name in secret_files.FILE_NAMES} <= set(scheduler["secrets"])
    )


def test_dags_and_logs_may_come_from_claims(settings):
    chart_values = values(settings("AO_WORKFLOWS_URL=/srv/git/x\n"), DAGS_DIR="dags", LOGS_DIR="logs")
    assert chart_values["dags"] == {"persistence": {"enabled": True, "existingClaim": "dags"}}
    assert chart_values["logs"] == {"persistence": {"enabled": True, "existingClaim": "logs"}}


@pytest.mark.parametrize(
    ("url", "repo", "secret"),
    [
        ("git@h:me/x.git", "git@h:me/x.git", {"sshKeySecret": "af-git"}),
        ("ssh://git@h:22/x.git", "ssh://git@h:22/x.git", {"sshKeySecret": "af-git"}),
        ("https://me:hunter2@h/x.git", "https://h/x.git", {"credentialsSecret": "af-git"}),
        ("https://hunter2@h/x.git", "https://h/x.git", {"credentialsSecret": "af-git"}),
        ("git://h/x.git", "git://h/x.git", {}),
    ],
)
def test_git_sync_takes_what_the_settings_pull(settings, url, repo, secret):
    chosen = settings(f"AO_WORKFLOWS_URL={url}\nAO_WORKFLOWS_REF=v1\nDAGS_DIR=my/dags\n")
    wanted = {"enabled": True, "repo": repo, "ref": "v1", "branch": "v1", "subPath": "my/dags", **secret}
    assert values(chosen)["dags"] == {"gitSync": wanted}
    commands = "\n".join(helm.commands(chosen, IMAGE, {}, "f"))
    assert ("af-git" in commands) == bool(secret) and "hunter2" not in commands


@pytest.mark.parametrize(("version", "section"), [("2.11.2", "webserver"), ("3.3.2", "api")])
def test_options_are_variables_and_the_address_of_the_page_is_known_to_the_probes(settings, version, section):
    url = "https://h.example/airflow"
    option = f"AIRFLOW__{section.upper()}__BASE_URL"
    chart_values = values(settings(f"AIRFLOW_VERSION={version}\n{option}={url}\nAIRFLOW__CORE__PARALLELISM=8\n"))
    assert {"name": "AIRFLOW__CORE__PARALLELISM", "value": "8"} in chart_values["env"]
    assert {"name": option, "value": url} in chart_values["env"] and chart_values["config"] == {
        section: {"base_url": url}
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("AO_WORKFLOWS_URL=/srv/git/x\n", "AO_WORKFLOWS_URL: /srv/git/x is on this machine alone"),
        ("AO_WORKFLOWS_URL=file:///srv/git/x\n", "is on this machine alone"),
        ("AIRFLOW_VERSION=2.10.5\n", "AIRFLOW_VERSION: the Helm chart runs Airflow from 2.11.0 on, not 2.10.5"),
    ],
)
def test_what_kubernetes_cannot_do_is_said(settings, text, message):
    with pytest.raises(UserError, match=message):
        values(settings(text))


@pytest.mark.parametrize(("name", "prefix"), [("af_demo", "af-demo"), ("1st", ""), ("a" * 41, ""), ("af-", "")])
def test_names_are_such_as_kubernetes_takes(settings, name, prefix):
    chosen = settings(COMPOSE_PROJECT_NAME=name)
    if prefix:
        assert helm_values.prefix_of(chosen) == prefix
    else:
        with pytest.raises(
            UserError, match=f"COMPOSE_PROJECT_NAME: Kubernetes takes no names that begin with '{name}-'"
        ):
            helm_values.prefix_of(chosen)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ARCH_ROOT"], "'ARCH_ROOT' is for none of"),
        (["STATE_DIR=x"], "'STATE_DIR=x' is for none of"),
        (["ARCH_ROOT="], "'' is no name of a claim"),
        (["ARCH_ROOT=A_b"], "'A_b' is no name of a claim"),
    ],
)
def test_claims_that_are_none(settings, args, message):
    with pytest.raises(UserError, match=message) as error:
        helm.claims_of(settings(), args)
    assert error.value.code == 2


def test_claims_are_for_settings_and_for_mounted_folders(settings):
    args = ["ARCH_ROOT=nas", "DAGS_DIR=dags", "/b=extra.1"]
    assert helm.claims_of(settings("EXTRA_MOUNTS=/a:/b\n"), args) == {
        "ARCH_ROOT": "nas", "DAGS_DIR": "dags", "/b": "extra.1",
    }  # fmt: skip


def test_commands_name_files_and_the_values_name_what_they_make(settings, tmp_path):
    chosen = settings(executor="CeleryExecutor")
    create = "kubectl create secret generic"
    folder = f"{tmp_path}/.secrets"
    assert helm.commands(chosen, IMAGE, {}, "v.yaml") == [
        "docker push registry.example.org/team/airflow:0123456789ab",
        f"{create} af-fernet-key --from-file=fernet-key={folder}/fernet_key",
        f"{create} af-webserver-secret-key --from-file=webserver-secret-key={folder}/webserver_secret_key",
        f"sed s/@postgres:/@af-postgres:/ {folder}/sql_alchemy_conn | tr -d '\\n'"
        f" | {create} af-metadata --from-file=connection=/dev/stdin",
        f"{create} af-postgres --from-file=password={folder}/postgres_password",
        f"sed s/@redis:/@af-redis:/ {folder}/broker_url | tr -d '\\n'"
        f" | {create} af-broker --from-file=connection=/dev/stdin",
        f"{create} af-redis --from-file=password={folder}/redis_password",
        f"{create} af-admin --from-file=admin_password={folder}/admin_password",
        f"{create} af-tasks --from-file=db_apps={folder}/db_apps.config --from-file=drs_cnf={folder}/drs.config"
        f" --from-file=aws={folder}/aws-credentials",
        "helm upgrade --install af apache-airflow/airflow --values v.yaml",
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_each_secret_that_is_named_is_made_and_none_besides(settings, version, executor):
    chosen = settings(f"AIRFLOW_VERSION={version}\nAO_WORKFLOWS_URL=git@h:x.git\n", executor=executor)
    text = helm.as_yaml(values(chosen))
    commands = [args[args.index("generic") + 1] for args in map(str.split, helm.commands(chosen, IMAGE, {}, "f")) if "generic" in args]  # fmt: skip
    named = {value for value in _texts(yaml.safe_load(text)) if value.startswith("af-")}
    assert set(commands) == named and len(commands) == len(set(commands))


def _texts(value):
    """All strings in the values, but the keys."""
    if isinstance(value, dict | list):
        return [text for item in (value.values() if isinstance(value, dict) else value) for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def test_the_address_that_is_handed_on_has_the_name_of_the_charts_database(settings, tmp_path):
    (tmp_path / ".secrets").mkdir()
    derived = secret_files.derived({"postgres_password": "x-_"})
    (tmp_path / ".secrets/sql_alchemy_conn").write_text(derived["sql_alchemy_conn"])
    command = next(one for one in helm.commands(settings(), IMAGE, {}, "f") if "af-metadata" in one)
    handed = subprocess.run(command.rpartition(" | ")[0], shell=True, capture_output=True, text=True, check=True)
    assert handed.stdout == "postgresql+psycopg2://airflow:x-_@af-postgres:5432/airflow"


def test_no_secret_is_in_what_is_written_or_said(settings, capsys, tmp_path):
    text = "SECRET_AWS__default__key=marker\nAO_WORKFLOWS_URL=https://me:marker@h/x.git\n"
    chosen = settings(text, executor="CeleryExecutor")
    (tmp_path / ".secrets").mkdir()
    for name in helm._files(chosen):
        (tmp_path / ".secrets" / name).write_text("marker")
    helm._print_next_steps(chosen, IMAGE, {}, "f")
    output = capsys.readouterr()
    assert output.out == "" and "kubectl" in output.err
    assert "marker" not in output.err + helm.as_yaml(values(chosen))


def test_what_is_amiss_is_said(settings, capsys):
    helm._print_next_steps(settings(), Image("bdrc-airflow", "0"), {}, "f")
    warnings = capsys.readouterr().err
    assert "AIRFLOW_IMAGE=bdrc-airflow names no registry" in warnings and "docker push" not in warnings
    assert "no archive is named" in warnings and "not in SECRETS_DIR yet: fernet_key, " in warnings
    helm._print_next_steps(settings(), IMAGE, {"ARCH_ROOT": "nas"}, "f")
    assert "no archive" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "tag", ["123456789012", "12345678e901", "0x1234567890", "1_000", "NO", "y", "~", "a: b", "null"]
)
def test_text_stays_text_for_every_reader_of_yaml(tag):
    line = helm.as_yaml({"tag": tag}).splitlines()[-1]
    assert line.partition(": ")[2][0] in "'\"" and yaml.safe_load(line) == {"tag": tag}


def test_the_same_settings_give_the_same_bytes_without_anchors(settings):
    chosen = settings("MEMORY_LIMIT=4g\n")
    assert helm.as_yaml(values(chosen)) == helm.as_yaml(values(chosen))
    assert "&id" not in helm.as_yaml(values(chosen))


class Built:
    """An engine that has built something."""

    name = "compose"

    def __init__(self, settings):
        self.settings = settings

    def require(self):
        pass


@pytest.mark.parametrize(
    ("digests", "known"),
    [([], ""), ([f"team/airflow@sha256:{'a' * 64}"], f"sha256:{'a' * 64}"), ([f"other@sha256:{'b' * 64}"], "")],
)
def test_the_image_is_what_was_built_last(settings, monkeypatch, digests, known):
    monkeypatch.setattr(helm.builds, "built", lambda engine: "team/airflow:0123456789ab")
    monkeypatch.setattr(helm.images, "inspect", lambda name: {"RepoDigests": digests})
    assert helm.built_image(Built(settings())) == Image("team/airflow", "0123456789ab", known)


def test_the_file_is_written_once_and_never_over_another(settings, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(helm.builds, "built", lambda engine: "team/airflow:0123456789ab")
    monkeypatch.setattr(helm.images, "inspect", lambda name: None)
    engine, file = Built(settings()), tmp_path / "values.yaml"
    helm.write(engine, file, [])
    assert capsys.readouterr().out == ""
    helm.write(engine, None, [])
    assert capsys.readouterr().out == file.read_text()
    with pytest.raises(UserError, match="this file is there already"):
        helm.write(engine, file, [])
    with pytest.raises(UserError, match="there is no folder"):
        helm.write(engine, tmp_path / "none/values.yaml", [])
    monkeypatch.setattr(helm.builds, "built", lambda engine: None)
    with pytest.raises(UserError, match="nothing has been built with these settings"):
        helm.write(engine, None, [])


FULL = (
    "ARCH_ROOT=/mnt\nARCHIVE0_DIR=/mnt/Archive0\nMEMORY_LIMIT=4g\nAIRFLOW__CORE__PARALLELISM=8\n"
    "AIRFLOW__WEBSERVER__BASE_URL=http://h/a\nAIRFLOW__API__BASE_URL=http://h/a\nEXTRA_MOUNTS=/a:/b\n"
)
KINDS = [
    ("", {}),
    (f"{FULL}AO_WORKFLOWS_URL=git@h:me/x.git\n", {}),
    (f"{FULL}AO_WORKFLOWS_URL=https://me:pw@h/x.git\n", {"/b": "b", "ARCH_ROOT": "nas"}),
    ("AO_WORKFLOWS_URL=/srv/git/x\n", {"DAGS_DIR": "dags", "LOGS_DIR": "logs", "WORK_DATA_DIR": "work"}),
]


@pytest.fixture(params=[(v, e, k) for v in VERSIONS for e in EXECUTORS for k in range(len(KINDS))], ids=str)
def all_values(request, settings):
    """The values for each version, executor and kind of settings, as they are read from the file."""
    version, executor, kind = request.param
    text, claims = KINDS[kind]
    chosen = settings(f"AIRFLOW_VERSION={version}\n{text}", executor=executor)
    image = Image("team/airflow", "0123456789ab", "sha256:" + "a" * 64)
    return yaml.safe_load(helm.as_yaml(helm_values.values(chosen, image, claims)))


def test_the_chart_has_such_keys_of_such_types(all_values):
    assert misfits(all_values, CHART) == []


def test_the_table_finds_what_does_not_fit():
    assert misfits({"uid": "1", "nonsense": 1, "env": [{"name": 1}]}, CHART) == [".uid", "nonsense", ".env[].name"]


@pytest.mark.skipif(not os.environ.get("HELM_CHART_SCHEMA"), reason="HELM_CHART_SCHEMA names no values.schema.json")
def test_the_published_schema_takes_them(all_values):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(Path(os.environ["HELM_CHART_SCHEMA"]).read_text())
    problems = jsonschema.validators.validator_for(schema)(schema).iter_errors(all_values)
    assert [f"{list(one.absolute_path)}: {one.message}" for one in problems] == []
