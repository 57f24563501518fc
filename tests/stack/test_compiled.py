"""Modules that services import are compiled: checked in second containers of the same services."""

import json
import os

from stack.conftest import docker, run, until

ON = ("compose", "compose-3", "compose-celery")
SIGNAL = "URG"  # no handler in Airflow, Celery or gunicorn
PROBE = f"""
import json, os, signal, sys

def note(*_):
    specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
    files = {{s.origin: os.path.exists(s.cached) for s in specs if s and s.has_location and s.cached}}
    with open(f"/tmp/modules.{{os.getpid()}}", "w") as output:
        json.dump(files, output)

signal.signal(signal.SIG{SIGNAL}, note)
"""
NO_MODULES_OF_THE_IMAGE = ("/probe/", "/opt/airflow/dags/")


def start(stack, service, probe):
    """Start a second container of a service; its processes write their list of modules when they get the signal."""
    # Services that import DAG files have a writable root, and would compile missing modules.
    environ = ("--env", "PYTHONPATH=/probe", "--env", "PYTHONDONTWRITEBYTECODE=1")
    options = ("--detach", "--no-deps", *environ, "--volume", f"{probe}:/probe:ro")
    engine = stack.compose()
    result = run(*engine.command("run", *options, service), env=os.environ | engine.environment())
    assert result.returncode == 0, result.stderr
    return result.stdout.split()[-1]


def modules(container):
    """File -> whether it is compiled, of all modules that a container's processes have imported."""
    until(lambda: docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy", 300)
    docker("exec", container, "bash", "-c", f"kill -{SIGNAL} -1; sleep 2")
    listed = docker("exec", container, "bash", "-c", "for file in /tmp/modules.*; do cat $file; echo; done")
    states = {}
    for line in listed.splitlines():
        states |= json.loads(line)
    return {file: is_compiled for file, is_compiled in states.items() if not file.startswith(NO_MODULES_OF_THE_IMAGE)}


def modules_of_services(stack, folder):
    """Service -> :func:`modules`, for each Airflow service that keeps running."""
    (folder / "sitecustomize.py").write_text(PROBE)
    folder.chmod(0o755)
    services = [name for name in stack.compose().services() if name not in ("init", "postgres", "redis")]
    started = {}
    try:
        for service in services:
            started[service] = start(stack, service, folder)
        return {service: modules(container) for service, container in started.items()}
    finally:
        run("docker", "rm", "--force", *started.values())


def too_few_compiled(seen):
    """Service -> number of modules and those not compiled, if these are 1 % or more."""
    missing = {
        service: sorted(file for file, is_compiled in states.items() if not is_compiled)
        for service, states in seen.items()
    }
    return {s: (len(seen[s]), files) for s, files in missing.items() if len(files) >= len(seen[s]) / 100}


def test_fewer_than_one_in_a_hundred_of_the_modules_that_a_service_imports_is_not_compiled(stack, tmp_path):
    seen = modules_of_services(stack, tmp_path)
    assert set(seen) >= {"scheduler", "triggerer", stack.release.page}
    assert {service: len(states) for service, states in seen.items() if len(states) < 700} == {}
    assert (few := too_few_compiled(seen)) == {}, json.dumps(few, indent=1)
