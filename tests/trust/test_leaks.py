"""Secrets are only where the tasks read them: each secret is a marker, and everything is searched for markers."""

import gzip
import io
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import time

import pytest
from conftest import INV, git
from stack.conftest import FLAVOURS, docker

from airflow_docker import secret_files
from trust import containers
from trust.conftest import TRUST, count
from trust.journey import Journey
from trust.searching import Markers, Search, forms
from trust.watching import Watch

IS_FULL = os.environ.get(TRUST) == "full"

# Programs that get a secret through their environment. Variable -> programs; docs/security.md says why.
_INDEX = r"(PIP|UV)_\w*INDEX\w*"
ALLOWED = {
    r"GIT_CONFIG_VALUE_\d+": r"git.*|true",  # GIT_ASKPASS is true: git asks it instead of a person
    _INDEX: r"uv|pip|python.*",
    r"AIRFLOW_DOCKER_PACKAGE_INDEX": r"docker.*",
    r"PGPASSWORD": r"bash|psql|docker-entrypoint.*",
}
DATABASE = ("POSTGRES_PASSWORD", "PGDATA")
"""While the image of Postgres creates its database, it and its children have the first; only it has the second."""


@pytest.fixture(scope="module", params=tuple(FLAVOURS) if IS_FULL else ("compose",))
def journey(request, make_project, tmp_path_factory):
    """A complete journey: all is down, and the searches are done."""
    journey = Journey(request.param, tmp_path_factory.mktemp(f"leaks {request.param}"), make_project)
    journey.began = time.time()
    try:
        with journey.watch:
            journey.go()
            look_at_what_runs(journey)
            journey.go_wrong(IS_FULL)
            if IS_FULL:
                journey.rotate()
                journey.fail_to_start()
                look_at_what_runs(journey)
            journey.inv("down")
        journey.look_at_files()
        yield journey
    finally:
        journey.close()


def look_at_what_runs(journey):
    """Search the running containers; processes are watched all the time."""
    if journey.engine == "standalone":
        return
    journey.seen = {}
    for container in containers.of_project(journey.project.settings):
        containers.search_container(journey.of("containers"), container)
        if docker("inspect", "--format", "{{.State.Running}}", container) == "true":
            containers.search_running(journey.of("containers"), container)
            journey.seen[containers.service(container)] = containers.secrets_seen_by(container)
    containers.search_image(journey.of("image"), journey.inv("image").split()[3], journey.folder)
    containers.search_engine(journey.of("engine"), journey.project.settings, journey.began, time.time())


# --- the search itself ---


def plant(folder, value):
    """Put a value into every kind of file and form that is searched; the names of the files."""
    folder.mkdir()
    inner, layer = io.BytesIO(), io.BytesIO()
    for target, name, content in ((layer, "etc/motd.gz", gzip.compress(value.encode())), (inner, "layer.tar", None)):
        with tarfile.open(fileobj=target, mode="w") as tar:
            data = layer.getvalue() if content is None else content
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    (folder / "plain").write_text(f"x{value}x")
    (folder / "image.tar").write_bytes(inner.getvalue())
    (folder / "layer.tar.gz").write_bytes(gzip.compress(layer.getvalue()))
    zstd = subprocess.run(["zstd", "-c"], input=layer.getvalue(), capture_output=True, check=True).stdout
    (folder / "layer.tar.zst").write_bytes(zstd)
    (folder / "link").symlink_to(f"nowhere{value.partition('/')[0]}/{value.partition('/')[2]}")
    for form, data in forms(value).items():
        (folder / f"as {form}").write_bytes(b"a" + data + b"z")
    return {entry.name for entry in folder.iterdir()}


@pytest.mark.skipif(
    shutil.which("zstd") is None and os.environ.get("CI") != "true",
    reason="no zstd on PATH, to pack what is looked for",
)
def test_what_is_planted_in_any_kind_of_place_is_found(tmp_path):
    markers = Markers()
    value = markers.make("planted")
    places = plant(tmp_path / "places", value)
    search = Search(markers)
    search.folder(tmp_path / "places")
    assert {re.search(r"places/([^!:(]*?)(!| \(its|:)", hit)[1] for hit in search.hits} == places
    assert any("image.tar!layer.tar!etc/motd.gz!" in hit for hit in search.hits)
    for entry in (tmp_path / "places").iterdir():
        if not entry.is_symlink():
            entry.write_bytes(entry.read_bytes().replace(value.encode(), b""))
    nothing = Search(Markers())
    nothing.markers.make("not planted")
    nothing.folder(tmp_path / "places")
    assert nothing.locations and not nothing.hits


def test_what_is_planted_in_a_repository_is_found_when_its_commit_is_gone(tmp_path):
    markers = Markers()
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text(markers.make("planted"))
    git(tmp_path, "add", "--all")
    (tmp_path / "file").unlink()
    git(tmp_path, "rm", "--cached", "--quiet", "file")
    search = Search(markers)
    search.folder(tmp_path)
    assert not search.hits  # git compresses it
    search.git_objects(tmp_path)
    assert search.hits == [f"{tmp_path} (git's objects): planted (as it is)"]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are watched by /proc")
def test_a_process_that_lives_for_a_moment_is_seen(figure):
    """A process of one second is always seen; one of 30 ms if the machine is not too busy."""
    markers = Markers()
    argument, variable = markers.make("argument"), markers.make("variable")
    tries = count(50, 20)
    with Watch() as watch:
        for number in range(tries):
            subprocess.run(["sleep", "0.03"], env=os.environ | {f"PLANTED_{number}": variable}, check=True)
        subprocess.run(["sh", "-c", "sleep 1; true", argument], env=os.environ | {"PLANTED": variable}, check=True)
    seen = {(s.program, s.where, s.marker) for s in watch.sightings(markers)}
    assert {("sh", "arguments", "argument (as it is)"), ("sh", "PLANTED", "variable (as it is)")} <= seen
    short = {where for program, where, _ in seen if program == "sleep" and where.startswith("PLANTED_")}
    assert short
    figure("processes of 30 ms that were seen, in percent", round(100 * len(short) / tries))


def test_what_is_planted_in_a_container_and_its_image_is_found(docker_engine, images, tmp_path):
    markers = Markers()
    value = markers.make("planted")
    image = images["AIRFLOW_BASE_IMAGE"]
    name = f"airflow-docker-test-leaks-{os.getpid()}"
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\nRUN echo '{value}' | gzip >/tmp/packed\n")
    docker("build", "--quiet", "--tag", name, str(tmp_path))
    label = ("--label", "com.docker.compose.service=planted")
    script = f"echo '{value}'; echo '{value}' >/tmp/changed; echo '{value}' >/dev/shm/memory; sleep 600"
    try:
        docker(
            "run",
            "--detach",
            "--name",
            name,
            *label,
            "--env",
            f"PLANTED={value}",
            "--entrypoint",
            "bash",
            name,
            "-c",
            script,
        )
        time.sleep(2)
        search = Search(markers)
        containers.search_container(search, name)
        containers.search_running(search, name)
        containers.search_image(search, name, tmp_path)
    finally:
        docker("rm", "--force", name)
        docker("image", "rm", name)
    hits = "\n".join(search.hits)
    for location in ("docker inspect planted:", "docker logs planted:", "planted:/tmp/changed:", "dev/shm/memory:",
                     "tmp/packed!:", f"docker image history --no-trunc {name}:"):  # fmt: skip
        assert location in hits, hits


# --- the product ---


def test_the_way_was_gone_with_every_secret_in_use(journey):
    """Otherwise there is nothing to find: each secret was requested by a program that needs it."""
    assert {journey.workflows, journey.scripts, journey.index} <= journey.server.let_in
    assert journey.server.turned_away
    assert set(secret_files.GENERATED) <= set(journey.markers.values)
    for args in (("git", "fetch"), ("uv", "pip", "compile"), ("airflow", "scheduler"), ("pull",)):
        assert journey.watch.saw(*args), args


def test_no_output_of_a_verb_shows_a_secret_not_even_that_of_an_error(journey, figure):
    figure("places searched for secrets", journey.of("output").locations)
    assert journey.of("output").hits == []


def is_ours(sighting):
    """True for the verb itself, which gets the secrets from the test."""
    return list(sighting.command[: len(INV)]) == INV


def test_no_process_has_a_secret_in_its_arguments(journey, figure):
    figure("places searched for secrets", len(journey.watch.seen))
    figure("looks at all processes", journey.watch.looks)
    assert [s for s in journey.watch.sightings(journey.markers) if s.where == "arguments"] == []


def test_no_process_has_a_secret_in_its_environment_but_the_one_that_needs_it(journey):
    def is_allowed(sighting):
        variable, only_there = DATABASE
        return (sighting.where == variable and only_there in sighting.beside) or any(
            re.fullmatch(name, sighting.where) and any(re.fullmatch(program, word) for word in sighting.programs)
            for name, program in ALLOWED.items()
        )

    seen = [s for s in journey.watch.sightings(journey.markers) if s.where != "arguments" and not is_ours(s)]
    assert {(s.program, s.where, s.marker) for s in seen if not is_allowed(s)} == set()
    assert any(s.where.startswith("GIT_CONFIG_VALUE") for s in seen)  # the search does find secrets in environments


def test_no_file_of_the_project_holds_a_secret(journey, figure):
    figure("places searched for secrets", journey.of("files").locations)
    assert journey.of("files").hits == []


def test_no_home_or_temporary_folder_holds_a_secret(journey, figure):
    figure("places searched for secrets", journey.of("home and temporary folders").locations)
    assert (journey.home / ".cache" / "uv").is_dir()  # this home was really used
    assert journey.of("home and temporary folders").hits == []


def test_the_image_its_history_and_its_containers_hold_no_secret(journey, figure):
    if journey.engine == "standalone":
        pytest.skip("standalone has neither")
    for kind in ("image", "containers", "engine"):
        figure("places searched for secrets", journey.of(kind).locations)
        assert journey.of(kind).hits == []


def test_the_tasks_have_their_secrets_and_no_other_service_has(journey):
    folder = journey.project.settings.secrets_dir
    chosen = {name: (folder / file).read_text() for name, file in
              (("db_apps", "db_apps.config"), ("drs_cnf", "drs.config"), ("aws", "aws-credentials"))}  # fmt: skip
    values = journey.markers.values
    assert values["aws, chosen"] in chosen["aws"] and values["aws, laid over"] in chosen["aws"]
    assert values["drs"] in chosen["drs_cnf"] and values["drs, in the environment"] in chosen["drs_cnf"]
    assert values["db_apps"] in chosen["db_apps"]
    assert not any(values["aws, not chosen"] in entry.read_text() for entry in folder.iterdir())
    if journey.engine == "compose":
        keys = {"fernet_key", "sql_alchemy_conn", "webserver_secret_key", "jwt_secret"}
        wanted = dict.fromkeys(journey.project.release.commands, keys) | {"postgres": {"postgres_password"}}
        tasks = journey.project.task_service
        if tasks == "worker":
            wanted |= {name: keys | {"broker_url"} for name in ("scheduler", "worker")} | {"redis": {"redis.conf"}}
        wanted[tasks] = wanted[tasks] | set(chosen)
        assert {name: set(seen) for name, seen in journey.seen.items()} == wanted
        assert {name: journey.seen[tasks][name] for name in chosen} == {n: c.strip() for n, c in chosen.items()}
    else:
        home = journey.project.settings.state_dir / "standalone" / "home"
        assert (home / ".aws/credentials").readlink() == folder / "aws-credentials"
        assert (home / ".config/bdrc/db_apps.config").readlink() == folder / "db_apps.config"
        assert f"mySqlCnfPath = {folder / 'drs.config'}\n" in chosen["db_apps"]


def test_the_files_that_hold_secrets_are_for_their_reader_alone(journey):
    folder = journey.project.settings.secrets_dir
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    owners = {
        entry: (stat.S_IMODE(entry.stat().st_mode), entry.stat().st_uid)
        for entry in folder.iterdir()
        if entry.name != ".lock"
    }
    reader = journey.project.settings.airflow_uid if journey.engine == "compose" else os.geteuid()
    assert {mode for mode, _ in owners.values()} == {0o400} and {uid for _, uid in owners.values()} == {reader}


def test_a_backup_holds_keys_for_its_owner_alone_and_an_encrypted_one_none(journey):
    (plain,) = journey.backups.iterdir()
    assert stat.S_IMODE(plain.stat().st_mode) == 0o600 and stat.S_IMODE(plain.parent.stat().st_mode) == 0o700
    search = Search(journey.markers)
    search.file(plain)
    held = {re.search(r": ([\w, ]+) \(", hit)[1] for hit in search.hits}
    assert held == set(secret_files.OF_DATABASE)  # its keys; none of the tasks' secrets, no password of a URL
    sealed = Search(journey.markers)
    sealed.file(journey.sealed)
    assert sealed.locations and not sealed.hits
