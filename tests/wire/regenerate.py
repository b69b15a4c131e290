"""Writes the golden files anew: `python -m tests.wire.regenerate`. Read the difference before it is committed."""

from tests.wire.golden import ENCODING, TEMPORAL, encoded, exported, write

if __name__ == "__main__":
    write(ENCODING, encoded())
    write(TEMPORAL, exported())
