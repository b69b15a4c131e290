"""Draws curves. matplotlib is in a folder of its own (see requirements.txt): nothing else needs it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.growth.curve import Curve
from tests.benchmarks.process import BenchmarkError

FOLDER = Path(__file__).resolve().parents[3] / ".venv" / "plots"
INCHES = (7.0, 3.2)
DOTS_PER_INCH = 110


def pyplot() -> Any:
    """The module that draws; untyped, for it is not there when types are checked."""
    sys.path.append(str(FOLDER))
    try:
        importlib.import_module("matplotlib").use("agg")
        return importlib.import_module("matplotlib.pyplot")
    except ModuleNotFoundError as error:
        raise BenchmarkError("matplotlib is missing: run `make bench-growth ARGS=--write`") from error
    finally:
        sys.path.remove(str(FOLDER))


def draw(curve: Curve, folder: Path) -> None:
    """Write one PNG; each axis of amounts begins at 0, so that flat looks flat."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=INCHES, layout="constrained")
    for line in curve.lines:
        axes.plot(*zip(*line.points, strict=True), marker="o", markersize=4, label=line.label)
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    axes.set_ylim(bottom=0)
    if curve.log_x:
        axes.set_xscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:,g}")
    axes.grid(visible=True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(folder / f"{curve.name}.png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    plt.close(figure)
