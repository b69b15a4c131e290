"""Writes the transcripts anew: `python -m tests.transcripts.regenerate`. Read the difference before you keep it."""

from tests.transcripts.scenarios import SCENARIOS
from tests.transcripts.test_transcripts import FOLDER

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.txt"):
        stale.unlink()
    for name, tell in SCENARIOS.items():
        (FOLDER / f"{name}.txt").write_text(tell().text(), encoding="utf-8")
