"""Writes the goldens anew: `python -m tests.replay.interleaving.regenerate`. Read the difference before you keep it."""

from tests.replay import service
from tests.replay.interleaving.programs import STORIES
from tests.replay.interleaving.test_interleaving import FOLDER, told

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.txt"):
        stale.unlink()
    for name in STORIES:
        (FOLDER / f"{name}.txt").write_text(told(name).text(), encoding="utf-8")
        while service.made:
            service.made.pop().instance.close()
