"""What others rely on, as text that a change of names must leave alone: python tests/surface.py > before.txt

Verbs with their flags; settings; constants of the code that are no sentences (names of files, labels, JSON fields,
options, exit codes), counted; fields of what is written as JSON; compose files; environment files; variables of
the services of standalone.
"""

import ast
import re
import sys
import tempfile
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
CODE = [*sorted((PROJECT / "airflow_docker").rglob("*.py")), *sorted((PROJECT / "docker").rglob("*.py"))]


def verbs():
    import tasks

    for name, task in sorted(tasks.namespace.tasks.items()):
        flags = [(a.names, a.kind.__name__, a.default, a.positional) for a in task.get_arguments()]
        yield f"verb {name} default={task.is_default} {flags}"


def settings():
    from airflow_docker.settings import Settings

    for field in fields(Settings):
        yield f"setting {field.name} {sorted(field.metadata)}"


def constants():
    """Numbers, and texts without a space; SQL too, with its spaces made one."""
    counted = Counter()
    for file in CODE:
        tree = ast.parse(file.read_text())
        docs = {id(node.body[0].value) for node in ast.walk(tree)
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)}  # fmt: skip
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in docs and node.value not in (None, True, False, ""):
                value = node.value if not isinstance(node.value, str) else " ".join(node.value.split())
                if " " not in str(value) or re.match("SELECT|UPDATE|INSERT|DELETE|ALTER|DROP|CREATE|WITH", str(value)):
                    counted[repr(value)] += 1
    yield from (f"constant {value} {number}" for value, number in sorted(counted.items()))


def written():
    """The fields of each dataclass of a module that writes one as JSON, or of one that it takes them from."""
    for file in CODE:
        text = file.read_text()
        if file.parent.name == "runtime" or not ("asdict" in text or "fields(" in text):
            continue
        name = ".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
        module = __import__(name, fromlist=["_"])
        for value in vars(module).values():
            if isinstance(value, type) and is_dataclass(value):
                yield f"written {[field.name for field in fields(value)]}"


def containers():
    """All lines but comments."""
    docker = PROJECT / "docker"
    files = [
        PROJECT / "compose.yaml",
        docker / "Dockerfile",
        *sorted(docker.glob("*.yaml")),
        *sorted(docker.glob("*.env")),
    ]
    for file in files:
        lines = (re.sub(r"(^|\s+)#.*", "", line) for line in file.read_text().splitlines())
        yield from (f"{file.name} {line}" for line in lines if line)


def standalone():
    from airflow_docker.engines.standalone import variables
    from airflow_docker.settings import load

    with tempfile.TemporaryDirectory() as folder:
        env = Path(folder, ".env")
        for release in ("2.11.2", "3.3.2"):
            env.write_text(f"ENGINE=standalone\nAIRFLOW_VERSION={release}\nSTATE_DIR={folder}/state\n")
            loaded = load(env, {"HOME": folder, "PATH": "/usr/bin"})
            found = variables.variables(loaded, Path(folder, "state"), Path(folder, "environment"))
            for name, value in sorted(found.items()):
                yield f"standalone {release} {name}={value.replace(folder, 'FOLDER')}"


if __name__ == "__main__":
    for part in (verbs, settings, constants, written, containers, standalone):
        print(*sorted(set(part())) if part is written else part(), sep="\n")
