"""Where workflow code stands: the line that issues a command, and the stacks of all tasks.

Frames of asyncio and of perdure only lead to user code and are left out. It must not know commands.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import perdure
import perdure_worker
from perdure_worker.replay import Origin

_FOLDERS: Final = tuple(
    f"{Path(str(module.__file__)).resolve().parent}{os.sep}" for module in (asyncio, perdure, perdure_worker)
)
_INNER_NAMES: Final = (f"{os.sep}contextlib.py",)
_AWAITED: Final = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
DEPTH_MAX: Final = 200

_own_files: dict[str, bool] = {}


def is_own(filename: str) -> bool:
    """Whether a file is of asyncio or perdure."""
    own = _own_files.get(filename)
    if own is None:
        own = filename.startswith(_FOLDERS) or filename.endswith(_INNER_NAMES)
        _own_files[filename] = own
    return own


def locate() -> Origin | None:
    """The innermost line of user code on the stack."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only way to the line of a caller
    while frame is not None:
        code = frame.f_code
        if not is_own(code.co_filename):
            return Origin(code.co_filename, frame.f_lineno, code.co_name)
        frame = frame.f_back
    return None


def stack_of(task: asyncio.Task[Any]) -> str:
    """Where a waiting task stands, outermost call first, as Python prints a stack."""
    frames = [(frame, frame.f_lineno) for frame in _frames(task.get_coro()) if not is_own(frame.f_code.co_filename)]
    lines = traceback.StackSummary.extract(iter(frames)).format()
    return f"{task.get_name()}:\n{''.join(lines)}"


def stacks_of(tasks: Iterable[asyncio.Task[Any]]) -> str:
    """The stacks of all tasks, in the order of their creation."""
    return "\n".join([stack_of(task) for task in tasks])


def waiting_at(tasks: Iterable[asyncio.Task[Any]]) -> Origin | None:
    """The innermost line of user code of the first task that waits."""
    for task in tasks:
        frames = [frame for frame in _frames(task.get_coro()) if not is_own(frame.f_code.co_filename)]
        if frames:
            return Origin(frames[-1].f_code.co_filename, frames[-1].f_lineno, frames[-1].f_code.co_name)
    return None


def _frames(awaited: object) -> Iterator[FrameType]:
    """The frames of a suspended coroutine and of all that it awaits."""
    for _ in range(DEPTH_MAX):
        for frame_name, next_name in _AWAITED:
            if hasattr(awaited, frame_name):
                frame = getattr(awaited, frame_name)
                if frame is not None:
                    yield frame
                awaited = getattr(awaited, next_name)
                break
        else:
            return
