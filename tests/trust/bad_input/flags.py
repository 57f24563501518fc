"""Bad arguments of inv."""

from trust.bad_input.case import Case


def usage(name: str, verb: str, says: str, todo: str, **kwargs) -> Case:
    return Case(name, verb, says, todo, kwargs.pop("code", 2), **kwargs)


CASES = [
    usage("an unknown verb", "start", "inv: No idea what 'start' is.", "Did you mean"),
    usage("an unknown flag", "up --wait", "inv: No idea what '--wait' is.", "See: inv --list"),
    usage("a misspelt flag", "up --timout 5", "inv: No idea what '--timout' is.", "Did you mean --timeout?"),
    usage("a flag without its value", "up --timeout", "inv: Flag --timeout needed value", "inv --help VERB"),
    usage("a word too many", "config now", "inv: No idea what 'now' is.", "See: inv --list"),
    usage("a dry run", "up --dry", "--dry: no verb has a dry run.", "inv config"),
    usage("a timeout in words", "up --timeout soon", "--timeout: 'soon' is not a whole number of seconds.", "Say for instance 600."),
    usage("a timeout of 0", "up --timeout 0", "--timeout: '0' is not a whole number of seconds.", "Say for instance 600."),
    usage("a negative timeout", "up --timeout=-5", "--timeout: '-5' is not a whole number of seconds.", "Say for instance 600."),
    usage("a timeout with a unit", "restart --timeout 5m", "--timeout: '5m' is not a whole number of seconds.", "Say for instance 600."),
    usage("a timeout of a fraction", "demo --timeout 0.5", "--timeout: '0.5' is not a whole number of seconds.", "Say for instance 600."),
    usage("a timeout without end", "up --timeout " + "9" * 5000, "--timeout: ", "Say for instance 600."),
    usage("a timeout in digits of another script", "up --timeout \u0b67", "--timeout: ", "Say for instance 600."),
    usage("days in words", "clean --older-than week", "--older-than: 'week' is not a number of days.", "Say for instance 30."),
    usage("negative days", "clean --older-than=-1", "--older-than: '-1' is not a number of days.", "Say for instance 30."),
    usage("days without end", "clean --older-than " + "9" * 5000, "--older-than: ", "Say for instance 30."),
    usage("a tail in words", "logs --tail all", "--tail: 'all' is not a number of lines.", "Say for instance 100."),
    usage("a negative tail", "logs --tail=-1", "--tail: '-1' is not a number of lines.", "Say for instance 100."),
    usage("a since that is no time", "logs --since yesterday", "--since: 'yesterday' is neither a duration nor a time.", "Say for instance 10m"),
    usage("a since in another form", "logs --since 31.12.2026", "--since: '31.12.2026' is neither a duration nor a time.", "Say for instance 10m"),
    usage("a since before all time", "logs --since 9999999999d", "--since: '9999999999d' is neither a duration nor a time.", "Say for instance 10m"),
    usage("a service that is none", "logs redis", "redis: there is no such service.", "There are: init, webserver, scheduler, triggerer."),
    usage("a restart of a service that is none", "restart worker", "worker: there is no such service.", "There are: init"),
    usage("a shell in a service that is none", "shell db", "db: there is no such service.", "There are: init"),
    usage("a repository that is none", "pull --only dags", "--only: there is no repository 'dags'.", "Say ao-workflows or archive-ops."),
    usage("a conf without a run", "dags --conf '{}'", "--conf: is for a run.", "Name the DAG"),
    usage("a conf that is not JSON", "dags --run x --conf work=W1", "--conf: is not JSON", "Say for instance"),
    usage("a conf that is a list", "dags --run x --conf '[1]'", "--conf: is not an object.", "Say for instance"),
    usage("a conf nested without end", "dags --run x --conf '" + "[" * 100000 + "'", "--conf: is not JSON", "Say for instance"),
    usage("an Airflow command with an open quote", "airflow 'dags list \"'", "inv airflow: ", "Close what you opened."),
    usage("an empty Airflow command", "airflow ' '", "inv airflow: which command?", "Say for instance"),
    usage("no Airflow command", "airflow", "inv: ", "inv --help VERB"),
    usage("a restore of nothing", "restore", "inv: ", "inv --help VERB"),
    usage("a restore of an empty name", "restore --file ''", "--file: it names nothing.", "Name a file that inv backup wrote."),
    usage("a folder of nobody", "build --build-dir ~nobody-such/x", "--build-dir: '~nobody-such/x' names a home directory", "Correct the path."),
    usage("requirements of nobody", "build --requirements ~nobody-such/x", "--requirements: '~nobody-such/x' names a home directory", "Correct the path."),
    usage("an up before any build with --no-build", "up --no-build", "--no-build: nothing has been built", "Type: inv build"),
    usage("a run before anything was built", "dags --run x", "nothing has been built yet.", "Type: inv up", code=1),
    usage("a shell before anything was built", "shell", "nothing has been built yet.", "Type: inv up", code=1),
    usage("an image before anything was built", "image", "inv image: nothing has been built", "Type: inv build", code=1),
    usage("an image that is not there", "image --name no/such:1", "no/such:1: there is no such artifact on this machine", "Name none", code=1),
    usage("a backup before anything was built", "backup", "inv backup: there is no database yet", "Type: inv up", code=1),
    usage("a restart before anything was built", "restart", "nothing has been built yet.", "Type: inv up", code=1),
]  # fmt: skip
