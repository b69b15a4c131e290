"""Reads the statements of a `.sql` file beside this module: each begins with a line `-- name: verb_noun` and is used
as it stands, with its parameters bound.
"""

from collections.abc import Mapping
from pathlib import Path

MARK = "-- name: "


def load_queries(file_name: str) -> Mapping[str, str]:
    """Return the statements of the file by name."""
    queries: dict[str, str] = {}
    text = "\n" + (Path(__file__).parent / file_name).read_text(
        encoding="utf-8"
    )  # the first may have no line before it
    for part in text.split(f"\n{MARK}")[1:]:
        name, _, statement = part.partition("\n")
        assert name.strip() not in queries, f"{file_name} has {name.strip()} twice"
        queries[name.strip()] = statement.strip()
    return queries
