"""Bad requirements, bad inputs of a build, bad folders, and a bad port."""

import socket

from conftest import git

from trust.bad_input.case import Case, Sandbox


def requirements(name: str, content: str | bytes, says: str, todo: str, **kwargs) -> Case:
    """A build with a requirements file, on an assembled build folder."""

    def make(sandbox: Sandbox) -> None:
        sandbox.has("sources", "build").file("req.txt", content)

    return Case(name, "build --requirements req.txt", says, todo, make=make, **kwargs)


def build(name: str, says: str, todo: str, make=lambda sandbox: None, verb="build", **kwargs) -> Case:
    """A build from new checkouts; there is no build folder unless the case makes one."""

    def prepare(sandbox: Sandbox) -> None:
        sandbox.has("sources")
        make(sandbox)

    return Case(name, verb, says, todo, make=prepare, **kwargs)


def assembled(name: str, says: str, todo: str, make=lambda sandbox: None, verb="build", **kwargs) -> Case:
    """The same with an assembled build folder."""

    def prepare(sandbox: Sandbox) -> None:
        sandbox.has("sources", "build")
        make(sandbox)

    return Case(name, verb, says, todo, make=prepare, **kwargs)


def up(name: str, says: str, todo: str, verb="up", **kwargs) -> Case:
    """`inv up`, which must fail before it needs the repositories: they are missing too."""
    return Case(name, verb, says, todo, **kwargs)


def repository(sandbox: Sandbox) -> None:
    git(sandbox.folder("build"), "init", "--quiet")


def marked(sandbox: Sandbox) -> None:
    sandbox.file("build/.made-by-airflow-docker")
    (sandbox.home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
    sandbox.folder("build", 0o555)


def taken(sandbox: Sandbox) -> None:
    """Listen on the port in .env."""
    listener = sandbox.later.enter_context(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    sandbox.env_file.write_text(f"{sandbox.env_file.read_text()}AIRFLOW_PORT={listener.getsockname()[1]}\n")


REQUIREMENTS = [
    requirements("a requirement that is none", "requests\n== 2.0\n", "{project}/req.txt line 2: '== 2.0' is not a requirement", "Correct the line."),
    requirements("a version that is none", "requests==latest\n", "{project}/req.txt line 1: 'requests==latest' is not a requirement", "Correct the line."),
    requirements("two bad lines", "???\nrequests\n-e .\n", "{project}/req.txt line 1: '???' is not a requirement", "Correct the line.", lines=2),
    requirements("an editable install", "-e ../mine\n", "{project}/req.txt line 1: an editable install points to a folder", "Name a release, or git+https."),
    requirements("a path on this host", "./mine.whl\n", "{project}/req.txt line 1: './mine.whl' is a path on this host", "Name a release or URL."),
    requirements("a file URL", "mine @ file:///srv/mine.whl\n", "{project}/req.txt line 1: 'mine @ file:///srv/mine.whl' is a path on this host", "Name a release or URL."),
    requirements("a repository on this host", "mine @ git+file:///srv/mine\n", "{project}/req.txt line 1: 'mine @ git+file:///srv/mine' is a path", "Name a release or URL."),
    requirements("an index among requirements", "--index-url https://example.org\nsix\n", "--index-url is not taken from requirements.", "Package indexes come from pip's configuration."),
    requirements("an option that nobody knows", "--pre\n", "{project}/req.txt line 1: --pre is not an option that is supported here.", "Remove it;"),
    requirements("an include that is not there", "-r more.txt\n", "{project}/req.txt line 1: there is no file {project}/more.txt.", "Paths are relative to this file."),
    requirements("an include of itself", "-r req.txt\n", "{project}/req.txt line 1: req.txt includes itself.", "Remove one of the includes."),
    requirements("an include of nothing", "-r\n", "{project}/req.txt line 1: ", "Paths are relative to this file."),
    requirements("requirements in latin-1", "six  # f\u00fcr\n".encode("latin-1"), "{project}/req.txt: the file is not UTF-8 text.", "Save it as UTF-8."),
    requirements("requirements in UTF-16", "six\n".encode("utf-16"), "{project}/req.txt: the file is not UTF-8 text.", "Save it as UTF-8."),
    requirements("requirements with a NUL", b"si\0x\n", "{project}/req.txt line 1: ", "Correct the line."),
    requirements("hashes without a name", "https://example.org/x.whl --hash=sha256:00\n", "has hashes but no name.", "Write: name @ URL --hash=…"),
    requirements("a package that nobody has", "no-such-package-of-anybody==1\n", "{project}/req.txt line 1: ", "Loosen 'no-such-package-of-anybody==1' in", quotes=True),
    requirements("two that exclude each other", "six==1.16.0\nsix==1.15.0\n", "these exclude each other:", "Loosen 'six==1.16.0' in", quotes=True),
    requirements("one that excludes Airflow", "apache-airflow==2.9.0\n", "these exclude each other:", "Loosen 'apache-airflow==2.9.0' in", quotes=True),
    requirements("a wheel that cannot be fetched", "x @ http://127.0.0.1:1/x-1-py3-none-any.whl\n", "requirements: cannot be resolved.", "Fix that and try again.", quotes=True),
    requirements("an index that does not answer", "six\n", "requirements: cannot be resolved.", "Fix that and try again.", quotes=True, environ={"PIP_INDEX_URL": "http://127.0.0.1:1/", "UV_HTTP_RETRIES": "0"}),
    build("requirements that are not there", "--requirements: there is no file {project}/none.txt.", "Correct the path;", verb="build --requirements none.txt"),
    build("requirements that are a folder", "--requirements: ", "Correct the path;", verb="build --requirements sources"),
    build("requirements of the DAGs that are not there", "DAG_REQUIREMENTS: there is no file {project}/sources/ao-workflows/none.txt.", "Correct the path;", env="DAG_REQUIREMENTS=none.txt"),
    build("requirements of the DAGs of nobody", "DAG_REQUIREMENTS: '~nobody-such/r.txt' names a home directory", "Correct the path.", env="DAG_REQUIREMENTS=~nobody-such/r.txt"),
]  # fmt: skip

BUILDS = [
    build("the root for a build folder", "BUILD_DIR: / is the root of the file system.", "Name another folder", env="BUILD_DIR=/"),
    build("the home for a build folder", "BUILD_DIR: {home} is your home directory or holds it.", "Name another folder", env="BUILD_DIR=~"),
    build("the home by a flag", "BUILD_DIR: {home} is your home directory or holds it.", "Name another folder", verb="build --build-dir ~"),
    build("a folder that holds the home", "BUILD_DIR: {root} is your home directory or holds it.", "Name another folder", env="BUILD_DIR=.."),
    build("a repository for a build folder", "BUILD_DIR: {project}/build is a git repository.", "Name another folder", repository),
    build("a link for a build folder", "BUILD_DIR: {project}/build is a symbolic link.", "Name another folder", lambda sandbox: (sandbox.project / "build").symlink_to(sandbox.folder("else"))),
    build("a file for a build folder", "BUILD_DIR: {project}/build is not a folder.", "Name another folder", lambda sandbox: sandbox.file("build")),
    build("a file above the build folder", "BUILD_DIR: {project}/notes/x is not a folder.", "Name another", lambda sandbox: sandbox.file("notes"), env="BUILD_DIR=notes/x"),
    build("a build folder with files of mine", "BUILD_DIR: {project}/build holds files and was not made by airflow-docker", "Name another folder", lambda sandbox: sandbox.file("build/thesis.txt")),
    build("a purge of files of mine", "BUILD_DIR: {project}/build holds files and was not made by airflow-docker", "Name another folder", lambda sandbox: sandbox.file("build/thesis.txt"), verb="build --refresh"),
    build("the project for a build folder", "BUILD_DIR: {project} ", "Name another folder", env="BUILD_DIR=."),
    build("a build folder in the system", "BUILD_DIR: /proc/build cannot be created", "name a folder where you may write.", env="BUILD_DIR=/proc/build"),
    build("a build folder where I may not write", "BUILD_DIR: {project}/build cannot be read and written by you.", "Name another folder", marked, somebody=True),
    build("a build folder that I may not read", "BUILD_DIR: {project}/build cannot be read and written by you.", "Name another folder", lambda sandbox: (marked(sandbox), sandbox.folder("build", 0o700)), somebody=True),
    build("a build folder on a full disk", "BUILD_DIR: {project}/build cannot be written (No space left on device).", "Name a folder where you may write, with room in it.", lambda sandbox: sandbox.fill("build")),
    assembled("a configuration that is not there", "SITE_CONFIG: there is no file {project}/sources/ao-workflows/none.yml.", "Paths are relative to WORKFLOW_DEV_DIR.", env="SITE_CONFIG=none.yml:x.yml"),
    assembled("a configuration of nobody", "SITE_CONFIG: '~nobody-such/x' names a home directory", "Correct the path.", env="SITE_CONFIG=~nobody-such/x:x.yml"),
    assembled("scripts that cannot be copied", "copyLinksToBin: ended with exit code 3 (no room).", "Run it by hand and fix it.", lambda sandbox: sandbox.file("sources/archive-ops/scripts/syncAnywhere/deployment/copyLinksToBin", "#!/bin/sh\necho no room; exit 3\n", 0o755)),
    assembled("a link out of the scripts", "bin/passwd: is a link out of archive-ops, to /etc/passwd.", "Put the file itself there.", lambda sandbox: sandbox.file("sources/archive-ops/scripts/syncAnywhere/deployment/copyLinksToBin", '#!/bin/sh\nln -s /etc/passwd "$1"/\n', 0o755)),
    assembled("a link to nothing among the scripts", "bin/x: is a link to a file that does not exist.", "Fix it in archive-ops.", lambda sandbox: sandbox.file("sources/archive-ops/scripts/syncAnywhere/deployment/copyLinksToBin", '#!/bin/sh\nln -s nothing "$1"/x\n', 0o755)),
]  # fmt: skip

FOLDERS = [
    up("a port that is taken", "is taken by another program.", "Set AIRFLOW_PORT in .env to a free port", make=taken),
    up("a port for root", "AIRFLOW_PORT: port 80 is reserved for root.", "Set one above 1023.", env="AIRFLOW_PORT=80", make=lambda sandbox: sandbox.project.chmod(0o777), somebody=True),
    up("an archive that is not there", "ARCHIVE0_DIR: there is no folder /mnt/no/such.", "Make or mount it", env="ARCHIVE0_DIR=/mnt/no/such"),
    up("a mount that is not there", "EXTRA_MOUNTS (/data): there is no folder {project}/data.", "Make or mount it", env="EXTRA_MOUNTS=data:/data"),
    up("a file for the archives", "ARCH_ROOT: there is no folder {project}/notes.", "Make or mount it", env="ARCH_ROOT=notes", make=lambda sandbox: sandbox.file("notes")),
    up("a file for the logs", "LOGS_DIR: {project}/notes is not a folder.", "Name another one, or move that file away.", env="LOGS_DIR=notes", make=lambda sandbox: sandbox.file("notes")),
    up("a file above the logs", "LOGS_DIR: {project}/notes is not a folder.", "Name another one, or move that file away.", env="LOGS_DIR=notes/logs", make=lambda sandbox: sandbox.file("notes")),
    up("a file for the state", "STATE_DIR: {project}/notes is not a folder.", "Name another one, or move that file away.", env="STATE_DIR=notes", make=lambda sandbox: sandbox.file("notes"), ),
    up("a file for the state of secrets", verb="secrets", says="STATE_DIR: {project}/notes is not a folder.", todo="Name another one, or move that file away.", env="STATE_DIR=notes", make=lambda sandbox: sandbox.file("notes")),
    up("a link to nowhere for the state", "STATE_DIR: {project}/.state is not a folder.", "Name another one", make=lambda sandbox: (sandbox.project / ".state").symlink_to("nowhere")),
    up("a state of another project for secrets", verb="secrets", says="STATE_DIR: {project}/.state is that of the project other, and this is ", todo="If this is it, moved or renamed: set COMPOSE_PROJECT_NAME=other in .env. Else give each .env a STATE_DIR", make=lambda sandbox: sandbox.file(".state/project", "other\n")),
    up("a state of another project", "STATE_DIR: {project}/.state is that of the project other, and this is ", "If this is it, moved or renamed: set COMPOSE_PROJECT_NAME=other in .env. Else give each .env a STATE_DIR", make=lambda sandbox: sandbox.file(".state/project", "other\n")),
    up("a state where no database can be", "STATE_DIR: Airflow cannot have a database at", "Name another folder.", env="STATE_DIR='what?'"),
    up("DAGs that are not there", "DAGS_DIR: there is no folder {project}/sources/ao-workflows/none.", "Name the DAG folder inside ao-workflows.", env="DAGS_DIR=none", make=lambda sandbox: sandbox.has("sources")),
    up("several folders and the port", "ARCHIVE1_DIR: there is no folder /no/1.", "Make or mount it", env="ARCHIVE1_DIR=/no/1\nARCHIVE2_DIR=/no/2", make=taken, lines=3),
]  # fmt: skip

CASES = [*REQUIREMENTS, *BUILDS, *FOLDERS]
