"""Built images: layers, labels, reproducibility, and builds that are killed."""

import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import INV

from stack.conftest import ComposeProject, docker, run

ON = ("compose",)


@pytest.fixture(scope="module")
def built(images, tmp_path_factory):
    """A project whose image has been built once."""
    project = ComposeProject(tmp_path_factory.mktemp("built"), **images)
    try:
        project.inv("pull", "build")
        yield project
    finally:
        project.remove()


def image(project):
    """The name of the image built last."""
    return re.search(r"^name +(\S+)", project.inv("image"), re.M)[1]


def inside(name, command):
    """Output of a shell command in a fresh container of an image."""
    return docker("run", "--rm", "--network=none", "--user=0:0", "--entrypoint=bash", name, "-c", command)


def test_nothing_new_is_not_built_and_the_image_says_what_is_in_it(built):
    assert "is up to date: nothing to build" in built.inv("build")
    output = built.inv("image")
    for name in ("ao-workflows", "archive-ops"):
        commit = run("git", "-C", str(built.folder / "sources" / name), "rev-parse", "HEAD").stdout.strip()
        assert re.search(rf"airflow-docker\.{name}\.revision +{commit}", output)
    lock = hashlib.sha256((built.settings.build_dir / "requirements.lock").read_bytes()).hexdigest()
    assert f"sha256:{lock}" in output
    assert built.inv("image", "--name", image(built)) == output
    assert "was not built by airflow-docker" in built.inv("image", "--name", built.settings.postgres_image, code=1)
    assert "there is no such artifact on this machine" in built.inv("image", "--name", "no/such:image", code=1)


def steps_not_cached(output):
    """The steps of a build that did not come from the cache, from the builder's output."""
    steps = dict(re.findall(r"^#(\d+) \[init [^\]]*\] ((?:RUN|COPY) .*)$", output, re.M))
    cached = set(re.findall(r"^#(\d+) CACHED$", output, re.M))
    assert steps
    return [step for number, step in steps.items() if number not in cached]


def test_a_changed_script_makes_one_small_layer(built):
    first = image(built)
    script = built.folder / "sources/archive-ops/scripts/syncAnywhere/syncOneWork.sh"
    text = script.read_text()
    script.write_text(text + f"# one line more, at {time.time()}\n")
    try:
        output = built.inv("build")
        assert "archive-ops" in output and "with local changes" in output and image(built) != first
        assert steps_not_cached(output) == ["COPY --chown=airflow:0 bin/ /home/airflow/bin/"]
        size = docker("history", "--human=false", "--format", "{{.Size}}", image(built)).split()[0]
        assert int(size) < 10_000
    finally:
        script.write_text(text)
        built.inv("build")
    assert image(built) == first


def test_a_change_that_keeps_the_size_of_a_file_gets_in(built):
    script = built.folder / "sources/archive-ops/scripts/syncAnywhere/syncOneWork.sh"
    text = script.read_text()
    script.write_text(text.replace("Copies one work", "COPIES ONE WORK"))
    try:
        built.inv("build")
        assert "COPIES ONE WORK" in inside(image(built), "cat /home/airflow/bin/syncOneWork.sh")
    finally:
        script.write_text(text)
        built.inv("build")
    assert "Copies one work" in inside(image(built), "cat /home/airflow/bin/syncOneWork.sh")


def tree(name):
    """Every file of an image with type, mode, owner and content."""
    entries = r"find / -xdev \( -path /proc -o -path /sys -o -path /dev \) -prune -o -printf '%p|%y|%m|%U:%G|%l\n'"
    contents = "find / -xdev -type f -print0 | sort -z | xargs -0 sha256sum"
    # Files that the engine puts into each container; they are not in the image.
    engines = re.compile(r"/(etc/(hosts|hostname|resolv.conf|mtab)|\.dockerenv|tmp|root|run)?(\||$)|^/etc\|")
    listed = inside(name, f"{entries}; {contents}").splitlines()
    return {line for line in listed if not engines.search(line.split("  ")[-1])}


def test_built_twice_from_the_same_commits_the_images_are_the_same(built):
    first = image(built)
    before = tree(first)
    docker("tag", first, f"{built.settings.airflow_image}:kept")
    output = built.inv("build", "--build-dir", str(built.folder / "other"), "--no-cache")
    assert image(built) == first and "Building" in output
    assert docker("image", "inspect", "--format", "{{.Id}}", first) != ""
    assert tree(first) ^ before == set()
    assert (built.folder / "other" / "requirements.lock").read_bytes() == (
        built.settings.build_dir / "requirements.lock"
    ).read_bytes()


COMPILED = """
import importlib.util, json, pathlib
states = {}
for file in pathlib.Path("/home/airflow/.local/lib").rglob("*.pyc"):
    header, source = file.read_bytes()[:16], pathlib.Path(importlib.util.source_from_cache(str(file)))
    same = source.is_file() and header[8:] == importlib.util.source_hash(source.read_bytes())
    states[str(source)] = [header[:4] == importlib.util.MAGIC_NUMBER, int.from_bytes(header[4:8], "little"), same]
print(json.dumps(states))
"""
"""For each compiled file of an image: whether this Python can load it, its flags, whether its source hash matches."""


def compiled(name):
    return json.loads(inside(name, f"python -B -c '{COMPILED}'"))


def test_what_is_compiled_is_of_its_source_and_not_checked_again(built):
    states = compiled(image(built))
    assert [file for file, state in states.items() if state != [True, 0b01, True]] == []
    assert len(states) > 2000
    assert sum(1 for file in states if "/airflow/migrations/versions/" in file) > 10  # which init runs
    base = compiled(built.settings.airflow_base_image)
    assert base == {}
    sizes = [int(docker("image", "inspect", "--format", "{{.Size}}", name)) for name in
             (image(built), built.settings.airflow_base_image)]  # fmt: skip
    assert sizes[0] - sizes[1] < 150e6
    modes = inside(
        image(built), "stat -c '%a %U:%G' ~airflow/.local/lib/python3*/site-packages/airflow/__pycache__{,/settings.*}"
    )
    assert modes.splitlines() == ["775 airflow:root", "664 airflow:root"]


def test_up_says_that_the_image_is_older_than_the_sources(stack):
    script = stack.folder / "sources/archive-ops/scripts/syncAnywhere/syncOneWork.sh"
    text = script.read_text()
    script.write_text(text + "# one line more\n")
    try:
        output = stack.inv("up")
    finally:
        script.write_text(text)
    assert "what was built is older than archive-ops: scripts/syncAnywhere/syncOneWork.sh changed since" in output
    script.write_text(text + "# in the image already\n")
    try:
        stack.inv("build")
        assert "what was built is older" not in stack.inv("up")
    finally:
        script.write_text(text)
        stack.inv("build")
    assert "what was built is older" not in stack.inv("up")


@pytest.fixture
def served_deb(tmp_path):
    """A small Debian package with a dependency, served over loopback: its URL and checksum."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb, which makes the test's package, is not on this machine")
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN" / "control").write_text(
        "Package: audit-test\nVersion: 1.2\nArchitecture: all\nMaintainer: x <x@localhost>\nDepends: tree\n"
        "Description: a test package for the audit tool\n"
    )
    launcher = package / "opt/audit-tool/v1/bin/audit-tool"
    launcher.parent.mkdir(parents=True)
    launcher.write_text("#!/bin/sh\necho audit-tool at work; tree --version\n")
    launcher.chmod(0o755)
    (tmp_path / "www").mkdir()
    deb = tmp_path / "www" / "audit-test.deb"
    for entry in package.rglob("*"):
        os.utime(entry, (1_700_000_000, 1_700_000_000))
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(package), str(deb)], check=True, capture_output=True
    )

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "www"))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/audit-test.deb", hashlib.sha256(deb.read_bytes()).hexdigest()
        server.shutdown()


def test_packages_audit_tool_compiled_requirements_and_configuration(project, served_deb, tmp_path, monkeypatch):
    url, sha256 = served_deb
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project.set(
        AUDIT_TOOL_URL=url,
        AUDIT_TOOL_SHA256=sha256,
        SYSTEM_PACKAGES="file",
        BUILD_PACKAGES="build-essential pkg-config default-libmysqlclient-dev python3-dev",
        SITE_CONFIG="site.yml:.config/bdrc/site-sync.yml",
    )
    project.inv("pull")
    workflows = project.folder / "sources/ao-workflows"
    (workflows / "site.yml").write_text("a: 1\n")
    (workflows / "airflow-docker/StagingGlacierProcess-requirements.txt").write_text(
        "humanize\nmysqlclient==2.2.4\nidna==3.6\n"
    )
    output = project.inv("build")
    assert re.search(r"mysqlclient +\S+ +2\.2\.4", output)
    assert re.search(r"idna +\S+ +3\.6", output)
    name = image(project)
    states = compiled(name)  # another version of idna was compiled, which services import
    assert [file for file, state in states.items() if state != [True, 0b01, True]] == []
    assert {Path(file).stem for file in states if "/idna/" in file} >= {"__init__", "core", "idnadata", "package_data"}
    assert inside(name, "python -c 'import idna; print(idna.__version__)'") == "3.6"
    assert {Path(file).parent.name for file in states} >= {"humanize", "MySQLdb"}
    assert "audit-tool at work" in inside(name, "audit-tool")
    assert "ASCII" in inside(name, "file --brief --dereference /etc/os-release")
    assert inside(name, "python -c 'import MySQLdb; print(MySQLdb.version_info[:3])'") == "(2, 2, 4)"
    assert inside(name, "command -v gcc cc make || echo none") == "none"
    assert inside(name, "cat /home/airflow/.config/bdrc/site-sync.yml") == "a: 1"
    left = inside(name, "ls -A /tmp /var/lib/apt/lists /wheels /run/secrets 2>/dev/null | grep -v -e : -e '^$' || true")
    assert left == ""
    epoch = json.loads((project.settings.build_dir / "manifest.json").read_text())["layer_epoch"]
    newer = inside(name, f"find /home /opt /usr /etc/alternatives -newermt @{epoch + 1} ! -type d")
    assert newer == ""  # no file has the time of the build
    assert "nothing to build" in project.inv("build")
    other = project.inv("build", "--strict", code=1)
    assert re.search(r"--strict: the install would change .*mysqlclient", other)


@pytest.mark.parametrize("seconds", [0.3, 0.8, 1.5, 3.0, 5.0])
def test_a_killed_build_leaves_what_the_next_one_builds_from(project, seconds):
    project.inv("pull")
    command = [*INV, "build", "--no-cache"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=project.environ, start_new_session=True, **quiet)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)  # with its children, like a power cut
    process.wait()
    project.inv("build")
    assert inside(image(project), "ls /home/airflow/bin").split() == [
        "sync-requirements.txt", "syncOneWork.sh", "workManifest.py",
    ]  # fmt: skip
    left = {
        entry.name
        for entry in project.settings.build_dir.iterdir()
        if entry.name.startswith((".scripts", ".resolving"))
    }
    assert left == set()


def test_two_builds_at_once_wait_for_each_other(project):
    project.inv("pull")
    command = [*INV, "build"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    running = [subprocess.Popen(command, env=project.environ, **pipes) for _ in range(2)]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs
    assert "waiting for process" in "".join(outputs)
