"""The audit hook: files, sockets, processes and threads are refused inside a workflow, when they are asked for.

What the interpreter itself reads on a workflow's behalf is allowed: imports, source lines of tracebacks, time zones,
logging's handlers and the debugger's settings. An audit hook stays for the life of the process, so it is cheap for
whoever is no workflow: every event of the process passes through it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from perdure_worker.loop_refusals import refuse

if TYPE_CHECKING:
    from types import FrameType

    from perdure_worker.guard.seam import Seam

_FILE = "files belong into an activity; pass the content as an argument or a result"
_NETWORK = "the network belongs into an activity"
_PROCESS = "processes belong into an activity"
_THREAD = "use asyncio.create_task(), or do the work in an activity"
_INPUT = "let people reach a workflow with a signal or an update"

_REMEDIES = {
    _FILE: """open os.listdir os.scandir os.mkdir os.remove os.rename os.rmdir os.link os.symlink os.chmod os.chown
        os.utime os.truncate os.chdir os.lockf os.getxattr os.setxattr os.walk os.fwalk shutil.copyfile shutil.copytree
        shutil.move shutil.rmtree shutil.make_archive shutil.unpack_archive tempfile.mkstemp tempfile.mkdtemp glob.glob
        pathlib.Path.glob pathlib.Path.rglob sqlite3.connect mmap.__new__ fcntl.fcntl fcntl.flock fcntl.lockf""",
    _NETWORK: """socket.__new__ socket.bind socket.connect socket.getaddrinfo socket.gethostbyaddr
        socket.gethostbyname socket.gethostname socket.getnameinfo socket.sendmsg socket.sendto urllib.Request
        http.client.connect ftplib.connect imaplib.open poplib.connect smtplib.connect webbrowser.open""",
    _PROCESS: """subprocess.Popen os.system os.exec os.fork os.forkpty os.posix_spawn os.spawn os.startfile os.kill
        os.killpg pty.spawn""",
    _THREAD: "_thread.start_new_thread _thread.start_joinable_thread time.sleep",
    _INPUT: "builtins.input",
}
_REFUSED = {event: remedy for remedy, events in _REMEDIES.items() for event in events.split()}

_READERS = frozenset({"importlib", "linecache", "tokenize", "traceback", "zoneinfo", "logging", "pdb", "bdb"})
_DRIVER = "perdure_worker."
_FRAMES_MAX = 1000


def install_audit(seam: Seam[Any]) -> None:
    """Add the hook; it cannot be removed again."""
    remedy_of = _REFUSED.get
    get = seam.current.get
    inside = seam.inside

    def hook(event: str, args: tuple[object, ...]) -> None:
        remedy = remedy_of(event)
        if remedy is None or (get(None) is None and not inside()):
            return
        if _is_time_zone(args) or _reads_for_the_interpreter(sys._getframe(1)):  # noqa: SLF001 - as traceback does
            return
        what = f"{event}({args[0]!r})" if args and isinstance(args[0], (str, bytes)) else f"{event}()"
        refuse(what, remedy)

    sys.addaudithook(hook)


def _is_time_zone(args: tuple[object, ...]) -> bool:
    # `ZoneInfo` opens its file from C, with no frame of its own.
    path = args[0] if args else None
    return isinstance(path, str) and ("/zoneinfo/" in path.replace("\\", "/") or path == "/etc/localtime")


def _reads_for_the_interpreter(frame: FrameType | None) -> bool:
    """Look for a reader between the call and the driver: below the driver stands whatever started the worker."""
    for _ in range(_FRAMES_MAX):
        if frame is None:
            return False
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(_DRIVER):
            return False
        if module.partition(".")[0] in _READERS or frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
