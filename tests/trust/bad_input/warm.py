"""A process that has imported Invoke and our modules, and forks for each run: this saves the start of Python.

Like a program of its own, a run has arguments, environment, current folder, outputs and a session.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
LARGEST = 1 << 20  # bytes of a request


class Warm:
    """Starts that process; :meth:`close` stops it. One run at a time."""

    def __init__(self) -> None:
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
            command = [sys.executable, __file__, str(other.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)

    def run(self, args: list[str], environ: dict[str, str], folder: Path, seconds: float) -> tuple[int, str, str]:
        """Exit code and both outputs of ``inv ARGS``. Raises TimeoutExpired after killing its process group."""
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        socket.send_fds(self.socket, [json.dumps([args, environ, str(folder)]).encode()], [out_end, err_end])
        os.close(out_end)
        os.close(err_end)
        pid = int(self.socket.recv(64))
        texts = read_to_their_ends([out, err], time.monotonic() + seconds)
        if texts is None:
            os.killpg(pid, signal.SIGKILL)
        status = int(self.socket.recv(64))
        if texts is None:
            raise subprocess.TimeoutExpired(args, seconds)
        return os.waitstatus_to_exitcode(status), texts[0], texts[1]

    def close(self) -> None:
        self.socket.close()
        self.process.wait()


def read_to_their_ends(files: list[int], end: float) -> list[str] | None:
    """Read several pipes to their end and close them; None if one is still open at the time ``end``."""
    contents = {file: b"" for file in files}
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < end:
            for key, _ in selector.select(max(0.0, end - time.monotonic())):
                piece = os.read(key.fd, 65536)
                contents[key.fd] += piece
                if not piece:
                    selector.unregister(key.fd)
        is_late = bool(selector.get_map())
    for file in files:
        os.close(file)
    return None if is_late else [content.decode(errors="replace") for content in contents.values()]


def serve(channel: socket.socket) -> None:
    """Fork for each request; send the process id, then the wait status."""
    while True:
        request, files, _, _ = socket.recv_fds(channel, LARGEST, 2)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            channel.close()
            become(*json.loads(request), *files)
        for file in files:
            os.close(file)
        channel.send(str(pid).encode())
        channel.send(str(os.waitpid(pid, 0)[1]).encode())


def become(args: list[str], environ: dict[str, str], folder: str, out: int, err: int) -> None:
    """Run ``inv ARGS`` as airflow_docker/__main__.py does, and end this process."""
    os.setsid()
    os.chdir(folder)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["inv", "--search-root", str(PROJECT), *args]
    code = 1
    try:
        Inv(name="airflow-docker", binary="inv", binary_names=["inv"]).run(sys.argv)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.path[0] = str(PROJECT)
    # Modules that every verb imports; none reads the environment or looks for programs at import.
    import dotenv  # noqa: F401
    import invoke  # noqa: F401
    import packaging.requirements  # noqa: F401
    import psutil  # noqa: F401
    import yaml  # noqa: F401

    import tasks  # noqa: F401
    from airflow_docker import settings, shell  # noqa: F401
    from airflow_docker.engines import choice  # noqa: F401
    from airflow_docker.program import Inv
    from airflow_docker.verbs import stack  # noqa: F401

    serve(socket.socket(fileno=int(sys.argv[1])))
