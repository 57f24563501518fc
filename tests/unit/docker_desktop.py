"""What Docker Desktop for Mac and Colima answer, and a program named docker that answers so.

Recorded, from public reports of their users: what `docker version` shows with Docker Desktop 4.33
(docker/for-mac#7402) and `docker info` with 4.6 (docker/compose#9369): host name, operating system, kernel, security
options, root folder, proxies. Made up, after the documentation of the engine's API and of contexts: the form of
the JSON, the exact sizes, the user, and Colima's answers but for its host name and the path of its socket
(abiosoft/colima's FAQ). How `create`, `run` and `cp` end for a folder that is not shared is that of a Linux
engine whose host lacks it. Nothing here was seen on a Mac by us.
"""

import json
import sys
from pathlib import Path

INFO = {
    "Name": "docker-desktop",
    "OperatingSystem": "Docker Desktop",
    "OSType": "linux",
    "Architecture": "x86_64",
    "KernelVersion": "5.10.104-linuxkit",
    "NCPU": 4,
    "MemTotal": 4125327360,
    "DockerRootDir": "/var/lib/docker",
    "SecurityOptions": ["name=seccomp,profile=default", "name=cgroupns"],
    "HTTPProxy": "http.docker.internal:3128",
    "HTTPSProxy": "http.docker.internal:3128",
    "RegistryConfig": {"Mirrors": []},
    "ServerVersion": "20.10.13",
}
VERSION = {
    "Client": {"Version": "27.1.1", "Os": "darwin", "Arch": "arm64", "Context": "desktop-linux"},
    "Server": {"Platform": {"Name": "Docker Desktop 4.33.0 (160616)"}, "Version": "27.1.1", "Os": "linux"},
}
COLIMA = INFO | {"Name": "colima", "OperatingSystem": "Ubuntu 24.04.1 LTS", "HTTPProxy": "", "HTTPSProxy": ""}
SOCKETS = {
    "desktop-linux": "unix:///Users/somebody/.docker/run/docker.sock",
    "colima": "unix:///Users/somebody/.colima/default/docker.sock",
}

PROGRAM = """#!{python}
import json, re, sys
answers = json.loads({answers!r})
verb, *args = sys.argv[1:]
hidden = [folder for folder in {hidden!r} if f"source={{folder}}" in " ".join(args)]
if verb in ("info", "version"):
    def value(match):
        at = answers[verb]
        for name in match[1].split("."):
            at = at[name]
        return "[" + " ".join(at) + "]" if isinstance(at, list) else str(at)
    print(re.sub(r"{{{{\\.([A-Za-z.]+)}}}}", value, args[args.index("--format") + 1]))
elif verb == "compose":
    print("2.29.1")
elif verb in ("create", "run") and hidden:
    sys.exit({{"create": 1, "run": 125}}[verb])
elif verb in ("cp", "image", "manifest"):
    sys.exit(1)
elif verb == "run":
    print("0\\nsomething of it")
"""


def docker(folder: Path, info=INFO, hidden=()):
    """Make the program in ``folder``; the folders ``hidden`` are not shared."""
    folder.mkdir(exist_ok=True)
    answers = json.dumps({"info": info, "version": VERSION})
    file = folder / "docker"
    file.write_text(PROGRAM.format(python=sys.executable, answers=answers, hidden=[str(one) for one in hidden]))
    file.chmod(0o755)
