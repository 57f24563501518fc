"""Bad secrets of the tasks, and a bad folder of secrets."""

import os

from trust.bad_input.case import Case, Sandbox


def secrets(name: str, env: str, says: str, todo: str, make=lambda sandbox: None, verb="secrets", **kwargs) -> Case:
    return Case(name, verb, says, todo, env=env, make=make, **kwargs)


def content(
    name: str, text: str | bytes, says: str, todo: str, env: str = "SECRET_AWS_SECTIONS=default", **kwargs
) -> Case:
    """A credentials file with this content."""
    return secrets(name, f"SECRET_AWS_FILE=aws\n{env}", says, todo, lambda sandbox: sandbox.file("aws", text), **kwargs)


def ready(sandbox: Sandbox) -> None:
    """Write the secrets once."""
    ended = sandbox.inv("secrets")
    assert ended.returncode == 0, ended.stderr


def exposed(sandbox: Sandbox) -> None:
    ready(sandbox)
    (sandbox.project / ".secrets").chmod(0o755)


def full_disk(sandbox: Sandbox) -> None:
    sandbox.file(".state/project.json", '{\n "format": 1,\n "project": "mine"\n}')
    sandbox.fill(".secrets")


def replaced(name: str, text: bytes):
    def make(sandbox: Sandbox) -> None:
        ready(sandbox)
        (sandbox.project / ".secrets" / name).unlink()
        (sandbox.project / ".secrets" / name).write_bytes(text)

    return make


CASES = [
    secrets("a file that is not there", "SECRET_AWS_FILE=none", "SECRET_AWS_FILE: there is no file {project}/none.", "Correct the path."),
    secrets("a folder for a secret file", "SECRET_AWS_FILE=sources", "SECRET_AWS_FILE: {project}/sources is not a file.", "Correct the path."),
    secrets("a device for a file", "SECRET_AWS_FILE=/dev/zero", "SECRET_AWS_FILE: /dev/zero is not a file.", "Correct the path."),
    secrets("a pipe for a file", "SECRET_AWS_FILE=pipe", "SECRET_AWS_FILE: {project}/pipe is not a file.", "Correct the path.", lambda sandbox: os.mkfifo(sandbox.project / "pipe")),
    secrets("a link to nowhere for a file", "SECRET_AWS_FILE=aws", "SECRET_AWS_FILE: there is no file {project}/aws.", "Correct the path.", lambda sandbox: (sandbox.project / "aws").symlink_to("nowhere")),
    secrets("a link to itself for a file", "SECRET_AWS_FILE=aws", "SECRET_AWS_FILE: ", "Correct the path.", lambda sandbox: (sandbox.project / "aws").symlink_to("aws")),
    secrets("a secret file of nobody", "SECRET_AWS_FILE=~nobody-such/aws", "SECRET_AWS_FILE: '~nobody-such/aws' names a home directory", "Correct the path."),
    secrets("a secret file that may not be read", "SECRET_AWS_FILE=aws", "SECRET_AWS_FILE: {project}/aws cannot be read (Permission denied).", "Make it readable for you.", lambda sandbox: sandbox.file("aws", "[default]\n", 0o600), verb="secrets", somebody=True),
    secrets("a secret file in a folder that may not be entered", "SECRET_AWS_FILE=closed/aws", "SECRET_AWS_FILE: {project}/closed/aws cannot be read (Permission denied).", "Make it readable for you.", lambda sandbox: (sandbox.file("closed/aws"), sandbox.folder("closed", 0o700)), somebody=True),
    secrets("sections of no file", "SECRET_AWS_SECTIONS=default", "SECRET_AWS_SECTIONS: there is no SECRET_AWS_FILE to take them from.", "Set both."),
    secrets("three files that are not there", "SECRET_AWS_FILE=a\nSECRET_DRS_CNF_FILE=b\nSECRET_DB_APPS_FILE=c", "SECRET_AWS_FILE: there is no file {project}/a.", "Correct the path.", lines=3),
    content("a section that is not there", "[prod]\na=b\n", "SECRET_AWS_SECTIONS: there is no section [default] in the file (it has prod).", "Correct the name."),
    content("a file without sections", "", "SECRET_AWS_SECTIONS: there is no section [default] in the file (it has none at all).", "Correct the name."),
    content("a key before any section", "a=b\n", "SECRET_AWS_FILE: line 1 of the file is not valid ini.", "Fix it; values are not shown."),
    content("a section that is not closed", "[prod]\na=b\n[default\n=x\n", "SECRET_AWS_FILE: line 4 of the file is not valid ini.", "Fix it; values are not shown."),
    content("a binary file", b"\x7fELF\xff\xfe\0\1", "SECRET_AWS_FILE: {project}/aws is not text.", "Name an ini file of credentials."),
    content("a file of NULs", b"\0" * 100, "SECRET_AWS_FILE: line 1 of the file is not valid ini.", "Fix it; values are not shown.", env=""),
    content("a file in UTF-16", "[default]\n".encode("utf-16"), "SECRET_AWS_FILE: {project}/aws is not text.", "Name an ini file of credentials."),
    content("a huge file", "#" * (2 << 20), "SECRET_AWS_FILE: {project}/aws is larger than 1 MiB.", "Name a file of credentials."),
    content("a whole file that is no ini", "{}\n", "SECRET_AWS_FILE: line 1 of the file is not valid ini.", "Fix it; values are not shown.", env=""),
    secrets("a file for the folder of secrets", "SECRETS_DIR=notes", "SECRETS_DIR: {project}/notes is not a folder.", "Name another, or move that file away.", lambda sandbox: sandbox.file("notes")),
    secrets("a file above the folder of secrets", "SECRETS_DIR=notes/x", "SECRETS_DIR: {project}/notes is not a folder.", "Name another", lambda sandbox: sandbox.file("notes")),
    secrets("a link to nowhere for the folder of secrets", "", "SECRETS_DIR: {project}/.secrets is not a folder.", "Name another, or move", lambda sandbox: (sandbox.project / ".secrets").symlink_to("nowhere")),
    secrets("a folder of secrets that others may enter", "", "SECRETS_DIR: others may enter {project}/.secrets (mode 0755).", "Type: chmod 700 {project}/.secrets", exposed),
    secrets("the same for up", "", "SECRETS_DIR: others may enter {project}/.secrets (mode 0755).", "Type: chmod 700 {project}/.secrets", exposed, verb="up"),
    secrets("the same for a check", "", "not all secrets are in order.", "Type: ", exposed, verb="secrets --check", shows=True),
    secrets("a check before anything is written", "", "not all secrets are in order.", "Type: inv secrets", verb="secrets --check", shows=True),
    secrets("a check of a file that is not there", "SECRET_AWS_FILE=none", "SECRET_AWS_FILE: there is no file {project}/none.", "Correct the path.", verb="secrets --check"),
    secrets("a key that is no text", "", "{project}/.secrets/fernet_key: is not text, so it is not what was written.", "Move it away.", replaced("fernet_key", b"\xff\xfe")),
    secrets("a full disk for the secrets", "COMPOSE_PROJECT_NAME=mine\nSECRET_DB_APPS__prod__server=x", "there is no room left (No space left on device).", "Free some: inv clean", full_disk),
    secrets("a folder of secrets that may not be read", "", "{project}/.secrets/admin_password: cannot be read (Permission denied).", "Run as the user who created it.", lambda sandbox: sandbox.folder(".secrets", 0o700), somebody=True),
]  # fmt: skip
