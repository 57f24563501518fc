"""The structure is what docs/architecture.md says it is."""

import ast
import graphlib
import re
import subprocess
import sys

import pytest

from airflow_docker import PROJECT

PACKAGE = PROJECT / "airflow_docker"
PAGE = (PROJECT / "docs" / "architecture.md").read_text()
ROOMS = re.findall(r"^\| \*\*`(\w+)/`\*\* \|", PAGE, re.M)
"""From the top down."""
MODULES = sorted(file for file in PACKAGE.rglob("*.py") if not file.name.startswith("__"))


def room(module):
    """The folder that a module (with dots, of this package) is in; empty for what stands beside the folders."""
    first = module.split(".")[1] if "." in module else ""
    return first if (PACKAGE / first).is_dir() else ""


def imported(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_docker"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_knows_none_above_it_and_is_in_the_table(file):
    own = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    below = ROOMS[ROOMS.index(own) :] if own in ROOMS else ["settings"]
    assert {room(module) for module in imported(file)} <= {"", *below}
    assert own == "settings" or file.parent.name == "checks" or f"{file.name}`" in PAGE


def test_the_table_names_every_folder():
    assert set(ROOMS) == {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()}


def test_no_module_imports_itself_in_a_circle():
    """Imports in functions and for types count too."""
    names = {".".join(file.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__"): file
             for file in PACKAGE.rglob("*.py")}  # fmt: skip
    graph = {
        name: {full if full in names else full.rpartition(".")[0] for full in imported(file)} - {name}
        for name, file in names.items()
    }
    assert list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the circle


LONG = {
    "engines/swarm/engine.py": 421, "settings/__init__.py": 330, "engines/compose/engine.py": 325,
    "secret_files.py": 310, "engines/standalone/engine.py": 309, "verbs/helm_values.py": 271,
    "engines/__init__.py": 262, "engines/compose/commands.py": 270, "engines/standalone/environments.py": 261,
}  # fmt: skip
"""Modules of more than 250 lines, and the most that each may have: these numbers only become smaller."""


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_module_is_not_too_long(file):
    assert len(file.read_text().splitlines()) <= LONG.get(str(file.relative_to(PACKAGE)), 250)


def calls(file):
    """Names of the functions that are called with a dot, such as subprocess.run."""
    for node in ast.walk(ast.parse(file.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            yield f"{node.func.value.id}.{node.func.attr}"


def test_programs_are_started_in_few_places():
    starters = {"subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output", "os.system"}
    found = {file.name for file in MODULES if starters & set(calls(file))}
    assert found == {"shell.py", "supervisor.py", "bootstrap.py"}


def test_git_is_run_in_one_place():
    def names_git(file):
        lists = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.List) and node.elts)
        return any(isinstance(first := item.elts[0], ast.Constant) and first.value == "git" for item in lists)

    assert {file.name for file in MODULES if names_git(file)} == {"git_command.py"}


def test_the_benchmark_imports_what_there_is():
    command = [sys.executable, "benchmarks/bench.py", "--help"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert result.returncode == 0 and "--only" in result.stdout, result.stderr
