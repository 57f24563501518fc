"""Every command line of the compose engine, to the letter."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from airflow_docker import PROJECT
from airflow_docker.building.manifest import Manifest
from airflow_docker.engines import ServiceState, images
from airflow_docker.engines.compose import commands, postgres
from airflow_docker.engines.compose import engine as compose
from airflow_docker.engines.compose.engine import Compose

COMPOSE = [
    "docker", "compose", "--project-name", "p", "--project-directory", str(PROJECT), "--env-file", "/dev/null",
    "--file", str(PROJECT / "compose.yaml"),
]  # fmt: skip

AIRFLOW_SERVICES = {"init", "webserver", "scheduler", "triggerer"}


def make_engine(make_settings, text="", image="bdrc-airflow:abc"):
    return Compose(make_settings(f"COMPOSE_PROJECT_NAME=p\n{text}"), image)


def test_commands(make_settings):
    engine = make_engine(make_settings)
    assert engine.build_command(Path("x")) == [*COMPOSE, "--file", "x", "build", "init"]
    assert engine.build_command(Path("x"), no_cache=True) == [*COMPOSE, "--file", "x", "build", "--no-cache", "init"]
    assert engine.up_command() == [*COMPOSE, "up", "--detach", "--no-build", "--remove-orphans"]
    down = [*COMPOSE, "down", "--remove-orphans", "--timeout", "30"]
    assert engine.down_command() == down
    assert engine.down_command(volumes=True) == [*down, "--volumes"]
    assert engine.stop_command(["scheduler"]) == [*COMPOSE, "stop", "--timeout", "30", "scheduler"]
    assert engine.end_command(["c"]) == ["docker", "stop", "-t", "30", "c"]
    logs = [*COMPOSE, "logs"]
    assert engine.logs_command([], False, None, "") == [*logs, "--timestamps"]
    assert engine.logs_command(["a", "b"], True, 5, "2026-01-01") == [
        *logs, "--follow", "--tail", "5", "--since", "2026-01-01", "a", "b",
    ]  # fmt: skip
    coloured = engine.logs_command(["a"], False, None, "", colours=True)
    assert coloured == [*COMPOSE, "--ansi", "always", "logs", "--timestamps", "a"]
    assert engine.exec_command("c", ["x", "y z"], terminal=True) == [
        "docker",
        "exec",
        "--interactive",
        "--tty",
        "c",
        "x",
        "y z",
    ]
    assert engine.parse_command(own_database=False)[-4:] == [
        "scheduler", "python", "/opt/airflow-docker/dags.py", "/opt/airflow/dags",
    ]  # fmt: skip
    isolated = ["--env", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite:////tmp/dags.db"]
    assert engine.parse_command(own_database=True)[-6:-4] == isolated
    label = "label=com.docker.compose.project=p"
    listed = ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", label]
    assert engine.containers_command() == [*listed, "--filter", "label=com.docker.compose.oneoff=False"]
    assert engine.containers_command(once=True) == [*listed, "--filter", "label=com.docker.compose.oneoff=True"]
    assert engine.volumes_command() == ["docker", "volume", "ls", "--quiet", "--filter", label]


def test_what_tasks_have_written_is_read_from_their_containers_only(make_settings, monkeypatch):
    engine, asked = make_engine(make_settings), []
    names = {"scheduler": "c", "triggerer": "d", "webserver": "e"}
    states = [ServiceState(name, container, "running") for name, container in names.items()]
    monkeypatch.setattr(Compose, "states", lambda _: states)
    answers = {"inspect": "/p-scheduler-1 1500000\n", "exec": ""}
    monkeypatch.setattr(
        compose.shell, "capture", lambda command: asked.append(command) or SimpleNamespace(stdout=answers[command[1]])
    )
    assert engine.written() == [("p-scheduler-1", 1500000)]
    engine.report_killed()
    assert asked == [
        ["docker", "inspect", "--size", "--format", "{{.Name}} {{.SizeRw}}", "c", "d"],
        ["docker", "exec", "--interactive", "c", "sh", "/opt/airflow-docker/memory.sh", "scheduler", "true"],
    ]
    states.clear()
    assert engine.written() == [] and len(asked) == 2


def test_commands_with_workers(make_settings):
    engine = make_engine(make_settings, "EXECUTOR=CeleryExecutor\nWORKERS=3\n")
    celery = [*COMPOSE, "--file", str(PROJECT / "docker" / "celery.yaml")]
    up = [*celery, "up", "--detach", "--no-build", "--remove-orphans", "--timeout", "30"]
    assert engine.up_command(workers=2) == [*up, "--scale", "worker=2"]
    assert engine.up_command(["worker"], 2) == [*up, "--scale", "worker=2", "worker"]
    assert engine.up_command(["scheduler"], 2) == [*up, "scheduler"]
    alone = ["--no-build", "--no-deps", "--no-recreate"]
    assert engine.scale_command(4) == [*celery, "up", "--detach", *alone, "--scale", "worker=4", "worker"]
    assert engine.down_command() == [*celery, "down", "--remove-orphans", "--timeout", "30"]
    assert engine.stop_command(["worker"]) == [*celery, "stop", "--timeout", "30", "worker"]
    assert engine.services() == [*make_engine(make_settings).services(), "redis", "worker"]
    assert (engine.task_service, make_engine(make_settings).task_service) == ("worker", "scheduler")


def test_services_that_the_settings_no_longer_have_are_stopped_first(make_settings, monkeypatch):
    ended, engine = [], make_engine(make_settings)
    monkeypatch.setattr(compose.shell, "capture", lambda command: ended.append(command[-1]))
    states = [ServiceState(name, f"id of {name}", state) for name, state in
              [("scheduler", "running"), ("worker", "running"), ("redis", "exited")]]  # fmt: skip
    engine._end_others(states)
    assert ended == ["id of worker"]
    engine._end_others(states[:1])
    assert len(ended) == 1


def test_what_changes_the_config_digest(make_settings):
    before = make_engine(make_settings).config_digest()
    assert make_engine(make_settings, "AIRFLOW_BASE_IMAGE=other:1\n").config_digest() == before
    assert make_engine(make_settings, image="bdrc-airflow:def").config_digest() != before
    assert make_engine(make_settings, "AIRFLOW_PORT=8123\n").config_digest() != before


def test_image_commands():
    assert images.inspect_command("a:b") == ["docker", "image", "inspect", "a:b"]
    assert images.pull_command("a:b") == ["docker", "pull", "a:b"]
    assert images.inventory_command("a:b")[:-1] == [
        "docker", "run", "--rm", "--network", "none", "--entrypoint", "python", "a:b", "-c",
    ]  # fmt: skip
    assert images.inventory_command("a:b", "/lock")[-1] == "/lock"


def test_a_registry_is_asked_for_the_digest_and_not_for_the_tag():
    manifest = ["docker", "manifest", "inspect"]
    assert images.manifest_command("a/b:1") == [*manifest, "a/b:1"]
    assert images.manifest_command("h:5000/a/b:1@sha256:0") == [*manifest, "h:5000/a/b@sha256:0"]
    assert images.manifest_command("127.0.0.1:5000/b:1") == [*manifest, "--insecure", "127.0.0.1:5000/b:1"]
    assert images.manifest_command("127.0.0.1.example.org/b") == [*manifest, "127.0.0.1.example.org/b"]


def test_a_digest_is_the_one_asked_for_or_of_the_same_repository():
    inspected = {"RepoDigests": ["h:5000/b@sha256:2", "a@sha256:1", "b@sha256:3"]}
    assert images.digest_of(inspected, "x:1@sha256:2") == "h:5000/b@sha256:2"
    assert images.digest_of(inspected, "b:latest") == "b@sha256:3"
    assert images.digest_of(inspected, "h:5000/b") == "h:5000/b@sha256:2"
    assert images.digest_of(inspected, "retagged:1") == "a@sha256:1"
    assert images.digest_of({"RepoDigests": []}, "b") == images.digest_of({}, "b@sha256:1") == ""


def test_options_and_mounts_become_an_overlay(make_settings, tmp_path):
    engine = make_engine(
        make_settings, "AIRFLOW__CORE__PARALLELISM=8\nAIRFLOW__X__Y='a$b'\nEXTRA_MOUNTS=arch ive:/mnt/Archive9\n"
    )
    assert engine.up_command()[10:12] == ["--file", str(tmp_path / ".state" / "compose.overlay.yaml")]
    options = {"AIRFLOW__CORE__PARALLELISM": "8", "AIRFLOW__X__Y": "a$$b"}
    mount = {"type": "bind", "source": str(tmp_path / "arch ive"), "target": "/mnt/Archive9",
             "bind": {"create_host_path": False}}  # fmt: skip
    assert engine.overlay["services"]["init"] == {"environment": options}
    assert engine.overlay["services"]["scheduler"] == {"environment": options, "volumes": [mount]}
    assert set(engine.overlay["services"]) == AIRFLOW_SERVICES


@pytest.mark.parametrize(
    ("version", "executor", "services"),
    [
        ("2.11.2", "LocalExecutor", {"scheduler", "triggerer"}),
        ("2.11.2", "CeleryExecutor", {"scheduler", "triggerer", "worker"}),
        ("3.3.2", "LocalExecutor", {"scheduler", "triggerer", "dag-processor"}),
        ("3.3.2", "CeleryExecutor", {"scheduler", "triggerer", "dag-processor", "worker"}),
    ],
)
def test_extra_mounts_go_to_every_service_that_imports_dags(make_settings, version, executor, services):
    settings = f"AIRFLOW_VERSION={version}\nEXECUTOR={executor}\nEXTRA_MOUNTS=a:/mnt/Archive9\n"
    engine = make_engine(make_settings, settings)
    assert {name for name, service in engine.overlay["services"].items() if "volumes" in service} == services
    assert set(engine.dag_services) == services


def test_the_environment_has_settings_and_no_secret(make_settings):
    engine = make_engine(make_settings, "SECRET_AWS__default__key=hunter2\nAO_WORKFLOWS_URL=https://me:hunter2@h/x\n")
    environ = engine.environment()
    assert (environ["AIRFLOW_IMAGE"], environ["AIRFLOW_PORT"]) == ("bdrc-airflow:abc", "8089")
    assert not any("hunter2" in value for value in environ.values())


class Instead(list):
    """A list that replaces the one of the layer below."""


class Layer(yaml.SafeLoader):
    """A compose file with compose's own tags."""


Layer.add_constructor("!reset", lambda loader, node: None)
Layer.add_constructor("!override", lambda loader, node: Instead(loader.construct_sequence(node, deep=True)))


def joined(below, above):
    """A service in two layers, as compose merges it: mappings are merged, lists appended, all else is replaced."""
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = joined(result[key], value)
        elif isinstance(value, list) and key not in ("command", "test") and not isinstance(value, Instead):
            result[key] = [*result.get(key, []), *value]
        else:
            result[key] = value
    return result


def services_of(layers):
    """The merged services of all layers."""
    parsed = [yaml.load(layer.read_text(), Layer)["services"] for layer in layers]
    services = {}
    for name, service in [item for layer_services in parsed for item in layer_services.items()]:
        if service is None:
            del services[name]
            continue
        below = services.get(name, {})
        if extended := service.pop("extends", None):
            assert extended["file"] == "compose.yaml"
            below = parsed[0][extended["service"]]
        services[name] = joined(below, service)
    return services


@pytest.fixture(params=[(v, e) for v in ("2.11.2", "3.3.2") for e in ("LocalExecutor", "CeleryExecutor")], ids="-".join)
def engine(request, make_settings):
    """The engine of each release with each executor."""
    version, executor = request.param
    return make_engine(make_settings, f"AIRFLOW_VERSION={version}\nEXECUTOR={executor}\n")


def test_each_release_and_executor_has_its_services(engine):
    services = services_of(engine.layers)
    assert list(services) == engine.services()
    besides = {"redis", "worker"} if engine.is_celery else set()
    assert set(services) == {"postgres", "init", *engine.release.commands} | besides
    for name, command in engine.release.commands.items():
        assert services[name]["command"] == command
        asked = services[name]["healthcheck"]["test"]
        assert asked[:4] == ["CMD", *commands.REPORT, name]
        assert name == "scheduler" or asked[-1] == engine.release.jobs.get(name, "http://127.0.0.1:8080${HEALTH_PATH}")
    assert services["scheduler"]["stop_grace_period"] == f"{engine.release.grace:.0f}s"
    assert services[engine.release.parser]["volumes"]


def test_services_that_import_dag_files_see_what_tasks_see(engine):
    services = services_of(engine.layers)
    tasks = services[engine.task_service]
    targets = [mount["target"] for mount in tasks["volumes"]]
    assert "/mnt" in targets and "/home/airflow/bdrc/data" in targets and len(targets) == 10
    for name in engine.dag_services:
        service = services[name]
        assert service["volumes"] == tasks["volumes"], name
        assert service.get("tmpfs") == tasks.get("tmpfs"), name
        assert [service["environment"][key] for key in ("ARCH_ROOT", "PYDEV_DEBUG")] == ["/mnt", "${PYDEV_DEBUG}"], name
    for name in set(services) - set(engine.dag_services):
        mounts = [mount["target"] for mount in services[name].get("volumes", []) if isinstance(mount, dict)]
        assert mounts == (["/opt/airflow/logs"] if name == engine.release.page else []), name


def test_the_compose_files_are_hardened(engine):
    services = services_of(engine.layers)
    seen_by = {
        name: {s for s, d in services.items() if name in d.get("secrets", [])} for name in ("db_apps", "drs_cnf", "aws")
    }
    assert set(map(frozenset, seen_by.values())) == {frozenset({engine.task_service})}
    published = {name: service.get("ports", []) for name, service in services.items()}
    assert {name: ports for name, ports in published.items() if ports} == {
        engine.release.page: ["127.0.0.1:${AIRFLOW_PORT}:8080"]
    }
    for name, service in services.items():
        assert service["user"] == "${AIRFLOW_UID}:0", name
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"]), name
        assert service["read_only"] == (name not in engine.dag_services), name
        assert ("healthcheck" in service) == (name not in Compose.one_shot), name
        assert service["restart"] == ("no" if name in Compose.one_shot else "unless-stopped"), name
        in_memory = [entry for entry in service.get("tmpfs", []) if entry.partition(":")[0] == "/tmp"]
        if name in engine.dag_services:
            assert (in_memory, service["shm_size"]) == ([], "${SHM_SIZE}")
        elif name not in commands.NOT_AIRFLOW:
            assert in_memory == ["/tmp:exec,size=256m"], name
        for mount in service.get("volumes", []):
            if isinstance(mount, dict):
                assert mount["bind"] == {"create_host_path": False}, name
                assert mount["target"] != "/opt/airflow/dags" or mount["read_only"], name
        for key, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD|KEY|CONN$", key) or key.endswith(("_CMD", "_FILE")), (name, key, value)
    if engine.is_celery:
        assert services["worker"]["healthcheck"]["test"][1:4] == [*commands.REPORT, "worker"]
    for file in engine.variable_files:
        assert not re.search(r"^\w*(PASSWORD|KEY|SECRET|CONN)=", file.read_text(), re.M), file


def test_the_worker_is_hardened_too():
    services = commands._read_layer(PROJECT / "docker" / "celery.yaml")["services"]
    assert "db_apps" not in services["scheduler"]["secrets"] and services["worker"]["extends"]["service"] == "scheduler"
    having = {
        name
        for name, service in services.items()
        if "AIRFLOW__CELERY__BROKER_URL_CMD" in service.get("environment", {})
    }
    assert (
        having
        == {name for name, service in services.items() if "broker_url" in service["secrets"]}
        == {"scheduler", "worker"}
    )
    redis, confined = services["redis"], yaml.safe_load((PROJECT / "compose.yaml").read_text())["x-confined"]
    assert {name: redis[name] for name in confined} == confined
    assert redis["networks"] == ["database"] and "ports" not in redis and redis["secrets"] == ["redis.conf"]


def test_no_default_credential_is_shipped():
    for file in (PROJECT / "compose.yaml", PROJECT / ".env.example", *Path(PROJECT, "docker").rglob("*")):
        if file.is_file() and file.parent.name != "__pycache__":
            assert not re.search(r"(?i)password\s*[:=]\s*(airflow|admin|postgres)\b", file.read_text()), file


def test_several_queries_are_one_script_whose_output_is_split():
    assert postgres.script(["SELECT 1", "SELECT 2"]) == "SELECT 1;\n\\echo '\x1e'\nSELECT 2;\n\\echo '\x1e'\n"
    rows = [["a", "two\nlines, and a \x1e"], ["", "b"]]
    assert postgres.split_tables('a,"two\nlines, and a \x1e"\n,b\n\x1e\n\x1e\n3\n\x1e\n') == [rows, [], [["3"]]]


def test_only_running_containers_of_one_service_are_listed(make_settings):
    name = "com.docker.compose"
    filters = [f"label={name}.project=p", f"label={name}.service=postgres", f"label={name}.oneoff=False"]
    assert Compose(make_settings("COMPOSE_PROJECT_NAME=p\n")).running_command("postgres") == [
        "docker", "ps", "--quiet", "--no-trunc", *(word for one in filters for word in ("--filter", one)),
    ]  # fmt: skip


def test_wheels_are_a_stage_of_the_build_only_where_there_are_compilers():
    nowhere = {"url": "u", "revision": "r", "dirty": False}
    manifest = Manifest(
        artifact="a:1", fingerprint="1" * 64, base_image="b", base_image_id="sha256:2", airflow_version="2.11.2",
        python="3.11", lock_sha256="3", epoch=5, layer_epoch=4, repositories={"ao-workflows": nowhere},
    )  # fmt: skip
    for wheels, stage in ((True, "wheels"), (False, "no-wheels")):
        build = commands.build_overlay(manifest, wheels)["services"]["init"]["build"]
        assert build["args"] == {"SOURCE_DATE_EPOCH": "5", "LAYER_EPOCH": "4", "WHEELS": stage}
        assert f"AS {stage}\n" in (PROJECT / "docker" / "Dockerfile").read_text()
