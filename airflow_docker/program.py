"""`inv`: Invoke's program with two more flags, verbs in groups, and service names without a flag."""

from __future__ import annotations

import difflib
import io
import os
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from invoke.exceptions import ParseError
from invoke.parser.argument import Argument
from invoke.program import Program
from invoke.tasks import Task
from invoke.util import helpline

from airflow_docker import PROJECT, __version__, interruption
from airflow_docker.errors import USAGE, UserError, guarded


class Inv(Program):
    """What ./inv runs. Invoke's own `inv` has the same verbs, without the additions made here."""

    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:
        """Run the verbs; signals end them cleanly."""
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does
        with interruption.handle_signals(self._typed):
            super().run(argv, exit)

    def _typed(self) -> str:
        """The command as far as it has been parsed."""
        return " ".join(["inv", *(verb.name or "" for verb in getattr(self, "tasks", ()))])

    def core_args(self) -> list[Argument]:
        """Invoke's flags, and ours. All of them may stand before or after a verb."""
        env = Argument(names=("env",), help="use the settings of .env.NAME instead of .env")
        quiet = Argument(names=("quiet",), kind=bool, default=False, help="only warnings, errors and results")
        return [*super().core_args(), env, quiet]

    def parse_core(self, argv: list[str] | None) -> None:
        """Let Python write .pyc files. Invoke switches that off, and all modules would be compiled at each start."""
        saved_value = sys.dont_write_bytecode
        super().parse_core(argv)
        sys.dont_write_bytecode = saved_value

    def print_version(self) -> None:
        """Print our version and that of Invoke."""
        import importlib.metadata

        print(f"airflow-docker {__version__} (Invoke {importlib.metadata.version('invoke')})")

    def parse_tasks(self) -> None:
        """Turn positional arguments into flags, then parse."""
        tasks = {name: self.collection[name] for name in self.collection.task_names}
        core = {f"--{name}" for a in self.core_args() if a.takes_value for name in a.names}
        self.core.unparsed = with_flags(self.core.unparsed, tasks, core)
        try:
            super().parse_tasks()
        except ParseError as problem:
            known = [
                *tasks,
                *(f"--{name}" for task in tasks.values() for a in task.get_arguments() for name in a.names),
            ]
            typed = [word for word in self.core.unparsed if word not in known]
            near = difflib.get_close_matches(typed[0], known, n=1, cutoff=0.7) if typed else []
            hint = f"Did you mean {near[0]}?" if near else "See: inv --list, inv --help VERB"
            what = re.sub(r"<Argument: ([\w-]+).*?>", r"--\1", str(problem)).rstrip("!.")
            raise UserError("inv", f"{what}.", hint, USAGE) from None

    @guarded
    def parse_cleanup(self) -> None:
        """Print the list of verbs or the help of one, if asked for."""
        super().parse_cleanup()

    def execute(self) -> None:
        """Choose the settings, then run the verbs."""
        if name := self.args["env"].value:
            os.environ["ENV_FILE"] = str(env_file(name))
        if self.args["quiet"].value:
            os.environ["AIRFLOW_DOCKER_QUIET"] = "1"
        super().execute()

    def list_flat(self) -> None:
        """Print the verbs in groups, in the order of use."""
        groups: dict[str, list[tuple[str, str | None]]] = {}
        for name, task in self.collection.tasks.items():
            groups.setdefault(getattr(task, "group", "More"), []).append((name, helpline(task)))
        width = max(len(name) for pairs in groups.values() for name, _ in pairs)
        for group, pairs in groups.items():
            print(f"{group}:")
            self.print_columns([(name.ljust(width), help) for name, help in pairs])
        print(f"Default verb: {self.collection.default}. Help on a verb: inv --help VERB")


def env_file(name: str) -> Path:
    """The file of --env NAME. Raises UserError with the names that exist."""
    file = PROJECT / f".env.{name}"
    if not file.is_file():
        names = sorted(f.name.removeprefix(".env.") for f in PROJECT.glob(".env.*") if f.name != ".env.example")
        hint = f"There are: {', '.join(names)}." if names else "Copy .env.example to it and edit it."
        raise UserError("--env", f"there is no file {file}.", hint, USAGE)
    return file


def with_flags(args: list[str], tasks: dict[str, Task[Any]], core: Collection[str] = ()) -> list[str]:
    """Rewrite ``logs scheduler`` as ``logs --service=scheduler``, for each verb with a ``default_flag``."""
    done: list[str] = []
    flag, valued, takes_value = "", set(core), False
    for word in args:
        is_word = not takes_value and not word.startswith("-")
        takes_value = word in valued
        if is_word and word in tasks:
            flag = getattr(tasks[word], "default_flag", "")
            arguments = [a for a in tasks[word].get_arguments() if a.takes_value]
            valued = set(core) | {f"{'--' if len(name) > 1 else '-'}{name}" for a in arguments for name in a.names}
        elif is_word and flag:
            word = f"--{flag}={word}"
        done.append(word)
    return done
