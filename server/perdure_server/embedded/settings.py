"""The settings of the embedded Postgres, in one place. Durability is Postgres's own and complete: what a commit
acknowledged survives a power cut. Sizes fit a laptop and a small server. They are passed on the command line, so a
file in the data folder never silently disagrees.
"""

import sys
from collections.abc import Mapping
from types import MappingProxyType

PORT = 5432  # only a part of the socket's file name: nothing listens on a network

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_permissions": "0700",
        "password_encryption": "scram-sha-256",
        "max_connections": "100",
        "shared_buffers": "128MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "max_wal_size": "2GB",
        "min_wal_size": "256MB",
        # The wheel is built without lz4 and zstd, and pglz costs more CPU than the bytes are worth here.
        "wal_compression": "off",
        # Before it replays its log a killed Postgres syncs its data files: one call for all where the system has it.
        **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
    }
)

START_SECONDS_MAX = 300.0  # recovery replays up to max_wal_size
FAST_SHUTDOWN_SECONDS_MAX = 10.0  # then immediate: recovery at the next start, nothing is lost
IMMEDIATE_SHUTDOWN_SECONDS_MAX = 5.0  # then SIGKILL
SHARED_MEMORY_SECONDS_MAX = 10.0  # how long a predecessor's backends may keep the shared memory
LOG_BYTES_MAX = 16 * 1024 * 1024  # a longer log is set aside at the next start
