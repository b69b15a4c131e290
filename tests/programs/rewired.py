"""`perdure` on a host that reaches some ports by other ways: `FROM:TO` leads to another port, `FROM:0` nowhere.

python rewired.py 7233:17233,7234:0 worker …
"""

import socket
import sys
from typing import Any

ways = {int(port): int(to) for port, to in (way.split(":") for way in sys.argv[1].split(","))}
del sys.argv[1]
_true_connect = socket.socket.connect


def _connect(wire: socket.socket, address: Any) -> None:
    if isinstance(address, tuple):
        to = ways.get(address[1], address[1])
        if to == 0:
            raise ConnectionRefusedError(111, f"port {address[1]} cannot be reached from here")
        address = (address[0], to, *address[2:])
    _true_connect(wire, address)


setattr(socket.socket, "connect", _connect)  # noqa: B010 - it is not meant to be set

from perdure.cli import main  # noqa: E402 - the ways are laid before anything is imported

if __name__ == "__main__":
    main()
