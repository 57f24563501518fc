"""Triggers a run of a DAG in a running Airflow, and prints what came of it as JSON.

trigger DAG RUN_ID CONF YES   {"params": [[NAME, COMPLAINT], …]} if CONF does not fit them, {"error": TEXT} if
                              Airflow refuses it for another reason, else {}; YES (or NO) is to unpause the DAG
unpause DAG                   {}
explain DAG RUN_ID            {"reason": TEXT}: why no task of the run has run; empty if that is not known
"""

import inspect
import json
import os
import sys


def airflow(*command: str) -> None:
    """Run one Airflow command."""
    from airflow.cli.cli_parser import get_parser

    args = get_parser().parse_args(list(command))
    args.func(args)


def serialized(dag_id: str) -> object:
    """The DAG as the scheduler has it."""
    from airflow.models.serialized_dag import SerializedDagModel

    dag = SerializedDagModel.get(dag_id)
    return dag and dag.dag


def trigger(dag_id: str, run_id: str, conf: str, unpause: str) -> dict:
    """Trigger it if the params allow that; the run comes first, so that none of the schedule is before it."""
    dag, values = serialized(dag_id), json.loads(conf)
    if dag is None:
        return {"error": "Airflow has not parsed its file to the end yet"}
    complaints = [(name, complaint(dag.params.get_param(name), name, values)) for name in dag.params]
    if refused := [pair for pair in complaints if pair[1]]:
        return {"params": refused}
    try:
        airflow("dags", "trigger", "--no-replace-microseconds", "--run-id", run_id, "--conf", conf, dag_id)
    except Exception as problem:
        return {"error": f"{type(problem).__name__}: {problem}".splitlines()[0]}
    return unpaused(dag_id) if unpause == "YES" else {}


def complaint(param: object, name: str, conf: dict) -> str:
    """What is wrong with the value of a param; empty if nothing is."""
    if name in conf:
        param.value = conf[name]
    options = {"raises": True} if "raises" in inspect.signature(param.resolve).parameters else {}
    try:
        param.resolve(**options)
    except Exception as problem:  # of jsonschema, wrapped in one of Airflow's or not
        for one in (*problem.args, problem):
            if message := getattr(one, "message", ""):
                return str(message)
        return str(problem).splitlines()[0]
    return ""


def unpaused(dag_id: str) -> dict:
    """Unpause it."""
    airflow("dags", "unpause", dag_id)
    return {}


def explain(dag_id: str, run_id: str) -> dict:
    """Compare what Airflow compares when it makes the tasks of a run."""
    from airflow.models import DagRun

    dag, runs = serialized(dag_id), DagRun.find(dag_id=dag_id, run_id=run_id)
    date = runs[0].logical_date if runs else None
    if dag is None:
        return {"reason": ""}
    if not dag.tasks:
        return {"reason": "the DAG has no tasks"}
    if date and all(task.end_date and task.end_date < date for task in dag.tasks):
        last = max(task.end_date for task in dag.tasks)
        return {"reason": f"its end_date, {last.isoformat()}, is before the run's date, {date.isoformat()}"}
    if date and all(task.start_date and task.start_date > date for task in dag.tasks):
        first = min(task.start_date for task in dag.tasks)
        return {"reason": f"its start_date, {first.isoformat()}, is after the run's date, {date.isoformat()}"}
    return {"reason": ""}


def main(command: str, *args: str) -> dict:
    """What is asked for."""
    return {"trigger": trigger, "unpause": unpaused, "explain": explain}[command](*args)


if __name__ == "__main__":
    answer = os.dup(1)
    os.dup2(2, 1)  # what Airflow prints is no answer
    result = json.dumps(main(*sys.argv[1:]))
    with os.fdopen(answer, "w") as output:
        output.write(result)
