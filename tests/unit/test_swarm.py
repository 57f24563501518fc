"""The stack file, the commands and the states of the swarm engine, to the letter."""

from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest

from airflow_docker import PROJECT, project_state
from airflow_docker.engines import ServiceState
from airflow_docker.engines.choice import choose
from airflow_docker.engines.compose import image_context
from airflow_docker.engines.swarm import commands, registry_push
from airflow_docker.engines.swarm.cluster import Cluster
from airflow_docker.engines.swarm.engine import Swarm
from airflow_docker.engines.swarm.rollout import Rollout
from airflow_docker.engines.swarm.secret_versions import SecretVersions
from airflow_docker.engines.swarm.stack import Plan, job_stack, secret_name, stack, subset
from airflow_docker.engines.swarm.tasks import Services
from airflow_docker.errors import UserError
from airflow_docker.verbs import builds

DIGEST = "sha256:" + "1" * 64
REF = f"r:5000/airflow@{DIGEST}"

CONFIG = {
    "services": {
        "postgres": {
            "image": "postgres:16", "command": None, "user": "1001:0", "restart": "unless-stopped", "read_only": True,
            "security_opt": ["no-new-privileges:true"], "mem_limit": "0", "pids_limit": 4096, "networks": {"database": None},
            "shm_size": "134217728", "tmpfs": ["/tmp", "/var/run/postgresql:mode=1777"],
            "secrets": [{"source": "postgres_password", "target": "/run/secrets/postgres_password"}],
            "volumes": [{"type": "volume", "source": "postgres", "target": "/var/lib/postgresql/data", "volume": {}}],
        },
        "init": {
            "image": "airflow:1", "build": {"context": "b"}, "command": ["init"], "environment": {"A": "b$$c"},
            "networks": {"default": None, "database": None}, "depends_on": {"postgres": {}},
            "secrets": [{"source": "fernet_key", "target": "/run/secrets/fernet_key"}],
        },
        "webserver": {
            "image": "airflow:1", "command": ["webserver"], "environment": {}, "networks": {"default": None},
            "healthcheck": {"test": ["CMD", "x"]},
            "ports": [{"mode": "ingress", "host_ip": "127.0.0.1", "target": 8080, "published": "8089", "protocol": "tcp"}],
        },
        "worker": {
            "image": "airflow:1", "command": ["celery", "worker", "--skip-serve-logs"], "environment": {},
            "networks": {"default": None, "database": None}, "mem_limit": "3221225472", "stop_grace_period": "10m0s",
            "labels": {"airflow-docker.mounted": "x"},
            "volumes": [
                {"type": "bind", "source": "/s/dags", "target": "/opt/airflow/dags", "read_only": True, "bind": {}},
                {"type": "bind", "source": "/state/logs", "target": "/opt/airflow/logs", "bind": {}},
                {"type": "bind", "source": "/state/mnt", "target": "/mnt", "bind": {}},
                {"type": "bind", "source": "/mnt/a0", "target": "/home/airflow/extern/Archive0", "bind": {}},
            ],
        },
    },
    "networks": {"default": {"ipam": {}}, "database": {"internal": True}},
    "volumes": {"postgres": {"name": "p_postgres"}},
    "secrets": {"fernet_key": {}, "postgres_password": {}, "ca_bundle": {}},
}  # fmt: skip
PLAN = Plan(
    project="p", artifact="airflow:1", where="/w", images={"airflow:1": REF, "postgres:16": "postgres:16@x"},
    secrets={"fernet_key": "p_fernet_key_1", "postgres_password": "p_postgres_password_1"}, uid=1001,
    shared=frozenset({"/s/dags", "/mnt/a0"}), logs_dir="/state/logs", workers=3, is_encrypted=False, dags_in_image=False,
)  # fmt: skip
LABELS = {"airflow-docker.artifact": "airflow:1", "airflow-docker.where": "/w"}
HERE = {"constraints": ["node.labels.airflow-docker.p == data"]}


def make_stack(**changes):
    return stack(CONFIG, Plan(**{**PLAN.__dict__, **changes}))


def test_a_dollar_that_compose_doubles_in_a_path_is_one():
    services = {"worker": CONFIG["services"]["worker"] | {
        "volumes": [{"type": "bind", "source": "/s/a$$b", "target": "/mnt", "bind": {}}],
    }}  # fmt: skip
    full = stack(CONFIG | {"services": services}, Plan(**{**PLAN.__dict__, "shared": frozenset({"/s/a$b"})}))
    binds = [volume["source"] for volume in full["services"]["worker"]["volumes"] if volume["type"] == "bind"]
    assert binds == ["/s/a$$b"]


def without_version(service):
    assert len(service["labels"].pop("airflow-docker.version")) == 12
    assert service.pop("labels") == {}
    return service


def test_the_database_is_on_the_labelled_host_with_its_volume_and_an_internal_network():
    full = make_stack()
    assert without_version(full["services"]["postgres"]) == {
        "image": "postgres:16@x",
        "command": [
            "postgres", "-c", "tcp_keepalives_idle=10", "-c", "tcp_keepalives_interval=5",
            "-c", "tcp_keepalives_count=3", "-c", "tcp_user_timeout=25000",
        ],
        "user": "1001:0", "read_only": True, "networks": ["database"],
        "secrets": [
            {"source": "postgres_password", "target": "postgres_password", "uid": "1001", "gid": "0", "mode": 0o400}
        ],
        "volumes": [
            {"type": "tmpfs", "target": "/tmp"}, {"type": "tmpfs", "target": "/var/run/postgresql"},
            {"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": 134217728}},
            {"type": "volume", "source": "postgres", "target": "/var/lib/postgresql/data"},
        ],
        "deploy": {
            "labels": LABELS, "resources": {"limits": {"pids": 4096}}, "mode": "replicated", "replicas": 1,
            "restart_policy": {"condition": "any", "delay": "2s"}, "endpoint_mode": "dnsrr", "placement": HERE,
            "update_config": {"parallelism": 1, "order": "stop-first", "monitor": "10s", "failure_action": "rollback"},
            "rollback_config": {"parallelism": 1, "order": "stop-first", "monitor": "10s", "failure_action": "pause"},
        },
    }  # fmt: skip
    assert full["networks"] == {"default": {"driver": "overlay"}, "database": {"driver": "overlay", "internal": True}}
    assert full["volumes"] == {"postgres": {"name": "p_swarm_postgres"}}
    assert full["secrets"] == {
        name: {"external": True, "name": f"p_{name}_1"} for name in ("fernet_key", "postgres_password")
    }
    assert make_stack(is_encrypted=True)["networks"]["default"]["driver_opts"] == {"encrypted": "true"}


def test_an_executable_tmpfs_is_on_disk_and_shared_memory_has_its_size():
    services = {"worker": CONFIG["services"]["worker"] | {"tmpfs": ["/tmp:exec,size=256m"], "shm_size": "67108864"}}
    volumes = stack(CONFIG | {"services": services}, PLAN)["services"]["worker"]["volumes"][:2]
    assert volumes == [
        {"type": "volume", "target": "/tmp"}, {"type": "tmpfs", "target": "/dev/shm", "tmpfs": {"size": 67108864}},
    ]  # fmt: skip


def test_a_worker_is_on_any_host_and_has_the_folders_that_all_hosts_have():
    worker = without_version(make_stack()["services"]["worker"])
    assert worker == {
        "image": REF, "command": ["celery", "worker"], "networks": ["database", "default"], "secrets": [],
        "environment": {"AIRFLOW__CORE__HOSTNAME_CALLABLE": "airflow.utils.net.get_host_ip_address"},
        "stop_grace_period": "10m0s",
        "volumes": [
            {"type": "bind", "source": "/s/dags", "target": "/opt/airflow/dags", "read_only": True},
            {"type": "volume", "target": "/opt/airflow/logs"},
            {"type": "bind", "source": "/mnt/a0", "target": "/home/airflow/extern/Archive0"},
        ],
        "deploy": {
            "labels": LABELS, "resources": {"limits": {"memory": "3221225472"}}, "mode": "replicated", "replicas": 3,
            "restart_policy": {"condition": "any", "delay": "2s"}, "endpoint_mode": "dnsrr",
            "update_config": {"parallelism": 0, "order": "start-first", "monitor": "10s", "failure_action": "rollback"},
            "rollback_config": {"parallelism": 0, "order": "start-first", "monitor": "10s", "failure_action": "pause"},
        },
    }  # fmt: skip


def test_workers_do_not_serve_logs_that_all_hosts_share():
    worker = make_stack(shared=frozenset({"/state/logs"}))["services"]["worker"]
    assert worker["command"] == ["celery", "worker", "--skip-serve-logs"] and worker["environment"] == {}
    assert worker["volumes"] == [{"type": "bind", "source": "/state/logs", "target": "/opt/airflow/logs"}]


def test_dags_in_the_image_are_not_mounted():
    worker = make_stack(shared=frozenset(), dags_in_image=True)["services"]["worker"]
    assert worker["volumes"] == [{"type": "volume", "target": "/opt/airflow/logs"}]
    assert worker["environment"]["AIRFLOW__CORE__DAGS_FOLDER"] == "/opt/airflow-docker/dags"


def test_init_is_a_job_and_the_web_ui_has_a_port_of_its_host():
    services = make_stack()["services"]
    assert services["init"]["deploy"] == {
        "labels": LABELS, "resources": {"limits": {}}, "mode": "replicated-job", "restart_policy": {"condition": "none"},
        "endpoint_mode": "dnsrr", "placement": HERE,
    }  # fmt: skip
    assert services["init"]["environment"]["A"] == "b$$c"  # `docker stack deploy` expands it again
    assert services["webserver"]["ports"] == [{"target": 8080, "published": 8089, "protocol": "tcp", "mode": "host"}]
    assert services["webserver"]["deploy"]["update_config"]["order"] == "stop-first"


def test_a_subset_has_only_the_secrets_that_it_needs():
    part = subset(make_stack(), ("postgres", "redis"))
    assert (list(part["services"]), list(part["secrets"])) == (["postgres"], ["postgres_password"])
    assert part["networks"] == make_stack()["networks"]


def test_a_job_is_like_a_service_on_the_host_of_the_database():
    full = job_stack(make_stack(), "worker", ["python", "x"], {"B": "c"})
    job = full["services"]["once"]
    assert list(full["services"]) == ["once"] and job["command"] == ["python", "x"]
    assert job["environment"]["B"] == "c" and "healthcheck" not in job
    assert job["deploy"] == {
        "labels": LABELS, "resources": {"limits": {"memory": "3221225472"}}, "mode": "replicated-job",
        "restart_policy": {"condition": "none"}, "endpoint_mode": "dnsrr", "placement": HERE,
    }  # fmt: skip


def test_the_version_of_a_container_depends_on_its_spec_and_not_on_replicas():
    labels = make_stack()["services"]["worker"]["labels"]
    assert make_stack(workers=5)["services"]["worker"]["labels"] == labels
    assert make_stack(images={**PLAN.images, "airflow:1": "other"})["services"]["worker"]["labels"] != labels
    renewed = make_stack(secrets={**PLAN.secrets, "fernet_key": "p_fernet_key_2"})["services"]
    assert renewed["worker"]["labels"] == labels  # it does not read that one
    assert renewed["init"]["labels"] != make_stack()["services"]["init"]["labels"]


def test_the_name_of_a_secret_changes_with_its_content_and_does_not_prove_a_guess():
    name = secret_name("p", "aws", "content", "key")
    assert name == secret_name("p", "aws", "content", "key") != secret_name("p", "aws", "other", "key")
    assert name.startswith("p_aws_") and len(name) == len("p_aws_") + 12
    assert name != secret_name("p", "aws", "content", "another key")


def test_an_empty_secret_is_one_line_and_the_key_is_not_shown(tmp_path):
    (tmp_path / "empty").write_text("")
    versions = SecretVersions("p", {"aws": tmp_path / "empty"}, "the key")
    assert versions.names() == {"aws": secret_name("p", "aws", "\n", "the key")}
    assert "the key" not in repr(versions)
    (tmp_path / "large").write_text("x" * 500_001)
    with pytest.raises(UserError, match="500 kB at most"):
        SecretVersions("p", {"aws": tmp_path / "large"}, "k").names()


def test_commands():
    assert commands.deploy("p") == [
        "docker", "stack", "deploy", "--detach=true", "--resolve-image", "never", "--with-registry-auth",
        "--compose-file", "-", "p",
    ]  # fmt: skip
    namespace = "label=com.docker.stack.namespace=p"
    assert commands.services("p") == ["docker", "service", "ls", "--quiet", "--filter", namespace]
    assert commands.remove_services("p", ["a", "b"]) == ["docker", "service", "rm", "p_a", "p_b"]
    assert commands.scale("p", 4) == ["docker", "service", "scale", "--detach", "p_worker=4"]
    assert commands.logs("p_a", follow=True, tail=5, since="2026-01-01") == [
        "docker", "service", "logs", "--follow", "--tail", "5", "--since", "2026-01-01", "p_a",
    ]  # fmt: skip
    assert commands.logs("p_a", stamped=True) == ["docker", "service", "logs", "--timestamps", "p_a"]
    assert commands.create_secret("p", "p_aws_1") == [
        "docker", "secret", "create", "--label", "airflow-docker.project=p", "p_aws_1", "-",
    ]  # fmt: skip
    assert commands.label_node("n", "airflow-docker.p") == [
        "docker", "node", "update", "--label-add", "airflow-docker.p=data", "n",
    ]  # fmt: skip


# --- what Swarm reports ---


def task(number, state, *, desired="running", slot=1, node="n1", version="v1", err="", code=0, service="s"):
    container = {"Image": REF, "Healthcheck": {}, "Labels": {"airflow-docker.version": version}}
    status = {"State": state, "Timestamp": f"t{number}", "Err": err, "ContainerStatus": {"ExitCode": code}}
    return {
        "ID": f"task{number}", "ServiceID": service, "Slot": slot, "NodeID": node, "DesiredState": desired,
        "CreatedAt": f"2026-01-01T00:00:{number:02}Z", "Status": status, "Spec": {"ContainerSpec": container},
    }  # fmt: skip


def inspected(*tasks, replicas=1, update="", version="v1", name="worker"):
    template = {"ContainerSpec": {"Labels": {"airflow-docker.version": version}}}
    service = {"ID": "s", "Spec": {"Mode": {"Replicated": {"Replicas": replicas}}, "TaskTemplate": template}}
    if update:
        service["UpdateStatus"] = {"State": update}
    return Services({name: service}, tasks, {"n1": "one", "n2": "two"})


def state(task, condition, **more):
    more = {"image": REF, "image_id": DIGEST, "host": "one", "started": f"t{task}", **more}
    return ServiceState("worker", f"task{task}", *condition, **more)


def test_a_task_that_runs_is_healthy_and_one_that_was_replaced_does_not_count():
    services = inspected(task(1, "running", desired="shutdown"), task(2, "running", node="n2"))
    assert services.states() == [state(2, ("running", "healthy"), host="two")]
    assert services.has_converged("worker")


def test_containers_of_a_service_are_numbered_and_removed_ones_not_shown():
    services = inspected(
        task(1, "running"), task(2, "running", slot=2), task(3, "shutdown", slot=3, desired="remove"), replicas=2
    )
    assert services.states() == [state(1, ("running", "healthy")), state(2, ("running", "healthy"), number=2)]
    assert services.has_converged("worker") and services.replicas("worker") == 2


def test_a_container_that_is_to_go_counts_until_it_has_ended_if_its_host_answers():
    services = inspected(
        task(1, "running"), task(2, "running", slot=2, desired="remove"), task(3, "shutdown", slot=3, desired="remove"),
        task(4, "running", slot=4, desired="shutdown", node="n2"),
    )  # fmt: skip
    assert services.unfinished("worker", away=["n2"]) == 2
    assert services.unfinished("worker", away=[]) == 3
    assert services.unfinished("redis", away=[]) == 0


def test_a_crash_is_reported_with_its_task_and_code_until_the_next_one_runs():
    crashed = task(1, "failed", desired="shutdown", err="task: non-zero exit (7)", code=7)
    waiting = inspected(crashed, task(2, "ready", desired="ready"))
    assert waiting.states() == [
        state(1, ("restarting", ""), exit_code=7, restarts=1, started="t2", probe="task: non-zero exit (7)",
              crashed="t1", crash_code=7)
    ]  # fmt: skip
    assert waiting.last_failure("worker")["ID"] == "task1"
    assert inspected(crashed, task(2, "running")).states() == [
        state(2, ("running", "healthy"), restarts=1, crashed="t1", crash_code=7)
    ]


def test_a_crash_of_another_version_or_during_an_update_is_not_ours_to_judge():
    old = task(1, "failed", desired="shutdown", version="v0", code=7)
    assert inspected(old, task(2, "starting")).states() == [state(2, ("starting", "starting"))]
    own = task(1, "failed", desired="shutdown", code=7)
    services = inspected(own, task(2, "preparing"), update="updating")
    assert services.states() == [state(2, ("preparing", "starting"))]
    assert not services.has_converged("worker")


def test_a_host_without_a_folder_is_reported():
    refused = task(1, "rejected", desired="shutdown", err="bind source path does not exist: /x")
    states = inspected(refused, task(2, "ready", desired="ready")).states()
    assert [(s.state, s.health, s.probe) for s in states] == [
        ("rejected", "unhealthy", "bind source path does not exist: /x")
    ]


def test_a_job_has_done_its_work_or_failed():
    done = inspected(task(1, "complete", desired="complete", slot=0), name="init").states()
    assert [(s.service, s.state, s.exit_code) for s in done] == [("init", "exited", 0)]
    failed = inspected(task(1, "failed", desired="shutdown", slot=0, code=3), name="init").states()
    assert [(s.state, s.exit_code) for s in failed] == [("exited", 3)]


def test_an_update_has_not_converged_while_an_old_version_runs():
    assert not inspected(task(1, "running", version="v0")).has_converged("worker")
    assert not inspected(task(1, "running"), replicas=2).has_converged("worker")
    assert not inspected(task(1, "running"), update="rollback_started").has_converged("worker")
    assert inspected(task(1, "running"), update="rollback_completed").update("worker") == "rollback_completed"


# --- hosts, images, settings ---


def node(identity, state="ready", **labels):
    return {"ID": identity, "Spec": {"Labels": labels}, "Status": {"State": state},
            "Description": {"Hostname": f"host-{identity}"}}  # fmt: skip


def test_the_database_is_on_one_host_and_inv_is_typed_there():
    label = {"airflow-docker.p": "data"}
    Cluster("a", [node("a"), node("b")]).require("p")
    Cluster("a", [node("a", **label), node("b", **{"airflow-docker.q": "data"})]).require("p")
    with pytest.raises(UserError, match=r"the database of p is on host-b .* Type it on host-b"):
        Cluster("a", [node("a"), node("b", **label)]).require("p")
    with pytest.raises(UserError, match="the database is on one host alone"):
        Cluster("a", [node("a", **label), node("b", **label)]).require("p")
    assert Cluster("a", [node("a"), node("b", "down")]).away == ["b"]


def test_an_image_is_pushed_unless_others_can_pull_it():
    built = {"Id": "sha256:0123456789abcdef", "RepoDigests": []}
    pulled = {"Id": "sha256:1", "RepoDigests": [f"postgres@{DIGEST}"]}
    assert not registry_push.is_public(built, "x/postgres:1", "r:5000")
    assert registry_push.is_public(pulled, "postgres:16", "r:5000")
    assert not registry_push.is_public(
        {**built, "RepoDigests": [f"r:5000/postgres@{DIGEST}"]}, "x/postgres:1", "r:5000"
    )
    assert registry_push.copy_name(built, "x/postgres:1", "r:5000/team") == "r:5000/team/postgres:0123456789ab"
    assert registry_push.copy_name(built, "r:5000/airflow:1", "r:5000") == "r:5000/airflow:1"


def test_what_swarm_requires_of_the_settings_is_reported_at_once(make_settings):
    with pytest.raises(UserError) as caught:
        choose(make_settings(f"ENGINE=swarm\nCOMPOSE_PROJECT_NAME={'p' * 31}\n"), notify=False).require_fit()
    assert [line.partition(":")[0] for line in caught.value.text.splitlines()] == [
        "EXECUTOR", "IMAGE_REGISTRY", "COMPOSE_PROJECT_NAME",
    ]  # fmt: skip
    with pytest.raises(UserError, match="^EXECUTOR: "):  # before a stack is built from it
        choose(make_settings("ENGINE=swarm\n"), notify=False).config_digest()
    text = (
        "ENGINE=swarm\nEXECUTOR=CeleryExecutor\nIMAGE_REGISTRY=r:5000/team\nAIRFLOW_IMAGE=a\nCOMPOSE_PROJECT_NAME=p\n"
    )
    engine = choose(make_settings(text), notify=False)
    engine.require_fit()
    assert engine.builder.artifact("0123456789abcdef") == "r:5000/team/a:0123456789ab"


def test_auto_never_chooses_swarm_but_says_so(make_settings, tmp_path):
    project_state.update(make_settings(), "swarm", started="x")
    with pytest.raises(UserError, match="Set ENGINE=swarm in"):
        choose(make_settings(), notify=False)


def test_folders_of_all_hosts_are_those_that_are_set(make_settings, tmp_path):
    settings = make_settings("ENGINE=swarm\nARCH_ROOT=/a\nLOGS_DIR=/l\nEXTRA_MOUNTS=/e:/e\n")
    dags = settings.workflow_dev_dir / settings.dags_dir
    named = {"DAGS_DIR": str(dags), "LOGS_DIR": "/l", "ARCH_ROOT": "/a", "EXTRA_MOUNTS (/e)": "/e"}
    assert {name: str(folder) for name, folder in Swarm(settings).mounted_folders().items()} == named
    built = make_settings("ENGINE=swarm\nDAGS_DELIVERY=image\n")
    assert Swarm(built).mounted_folders() == {}


def test_the_stack_is_built_from_the_compose_files(make_settings):
    engine = Swarm(make_settings("COMPOSE_PROJECT_NAME=p\nEXECUTOR=CeleryExecutor\n"), "i:1")
    command = commands.config(engine.command())
    assert command[:8] == [
        "docker",
        "compose",
        "--project-name",
        "p",
        "--project-directory",
        str(PROJECT),
        "--env-file",
        "/dev/null",
    ]
    assert command[-3:] == ["config", "--format", "json"]


def test_an_image_that_the_registry_has_had_need_not_be_pushed_again(monkeypatch, capsys):
    built = {"Id": "sha256:0123456789abcdef", "RepoDigests": []}
    refused = CompletedProcess([], 1, "", "connection refused")
    monkeypatch.setattr(registry_push.images, "require", lambda name, where: built)
    monkeypatch.setattr(registry_push.shell, "capture", lambda command: refused)
    with pytest.raises(
        UserError, match=r"IMAGE_REGISTRY: r:5000 does not take r:5000/airflow:1 \(connection refused\)"
    ):
        registry_push.push("r:5000/airflow:1", "AIRFLOW_IMAGE", "r:5000")
    built["RepoDigests"] = [REF]
    registry_push.push("r:5000/airflow:1", "AIRFLOW_IMAGE", "r:5000")
    assert "which it has had before: connection refused" in capsys.readouterr().err


GOOD = {"services": {"init": {}, "worker": {"image": "old"}}, "secrets": {}}
NEW = {"services": {"init": {}, "worker": {"image": "new"}}, "secrets": {}}


def make_rollout(good, new=NEW):
    """A start on a Swarm that deploys what it gets, which is in ``deployed``."""
    deployed = []
    swarm = SimpleNamespace(
        last_good=lambda: good, deploy=lambda config: deployed.append(config["services"]), remove=lambda names: None,
        deployed=list, services_inspected=lambda: inspected(task(1, "running")),
    )  # fmt: skip
    return Rollout(swarm, new, init=False), deployed


def test_a_timeout_is_rolled_back():
    late = UserError("worker", "is not healthy after 300 s.")
    rollout, deployed = make_rollout(GOOD)
    rollout.rollback(late)
    assert deployed == []  # nothing was deployed
    assert rollout.is_done()
    rollout.rollback(late)
    rollout.rollback(late)
    assert deployed == [{"worker": {"image": "new"}}, {"worker": {"image": "old"}}]
    for good in ({}, NEW):  # a first start, or the same once more
        rollout, deployed = make_rollout(good)
        rollout.is_done()
        rollout.rollback(late)
        assert len(deployed) == 1


def test_a_rollback_that_fails_is_reported_with_both_reasons(monkeypatch):
    rollout, _ = make_rollout(GOOD)
    rollout.is_done()
    monkeypatch.setattr(
        Rollout, "_deploy_again", lambda *_: (_ for _ in ()).throw(UserError("docker", "is gone.", "Look."))
    )
    with pytest.raises(UserError, match=r"^worker: is late\. docker: is gone\. Look\.$"):
        rollout.rollback(UserError("worker", "is late."))


def test_dags_in_the_image_are_as_they_were_and_their_folder_decides(make_settings, tmp_path):
    settings = make_settings("ENGINE=swarm\nWORKFLOW_DEV_DIR=w\nDAGS_DIR=d\nDAGS_DELIVERY=image\n")
    (tmp_path / "w" / "d").mkdir(parents=True)
    (tmp_path / "w" / "d" / "a.py").write_text("x")
    (tmp_path / "w" / "d" / "run.sh").write_text("x")
    (tmp_path / "w" / "d" / "run.sh").chmod(0o750)
    image_context._copy_dags(settings, tmp_path / "out")
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "out").iterdir()}
    assert modes == {"a.py": 0o644, "run.sh": 0o755}
    assert builds._build_settings(settings)["DAGS_DIR"] == "d"
    of = [
        builds._build_settings(make_settings(f"AIRFLOW_CONSTRAINTS=https://me:{p}@h/c?ref={v}\n"))
        for p, v in ("a1", "b1", "a2")
    ]
    assert of[0] == of[1] != of[2] and "ref=" not in str(of)
    assert "DAGS_DIR" not in builds._build_settings(make_settings("DAGS_DIR=d\n"))
