"""Common style of all figures, readable in print and with color blindness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from muse_lr.utils.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

P = ParamSpec("P")

#: Palette of Okabe and Ito without yellow (too faint on white) and black (the reference).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A5ACD")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
REFERENCE = "#111111"
MUTED = "#666666"

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function with this style, without changing the settings of the caller."""

    @wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return wrapper


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def color(index: int) -> str:
    """Color of a series; colors repeat after seven."""
    return COLORS[index % len(COLORS)]


def dash(index: int) -> str:
    """Line style of a series; it changes when the colors repeat."""
    return DASHES[(index // len(COLORS)) % len(DASHES)]


def marker(index: int) -> str:
    """Marker of a series."""
    return MARKERS[index % len(MARKERS)]


def shortened(text: str, length: int = 32) -> str:
    """Shorten a title or name to the width of its panel."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def grid(panels: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Make ``panels`` axes of ``width`` x ``height`` inches in at most ``columns`` columns."""
    columns = max(1, min(columns, panels))
    rows = -(-panels // columns)
    figure = Figure(figsize=(max(columns * width, 4.2), rows * height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[panels:]:
        unused.set_axis_off()
    return figure, axes[:panels]


def legend_below(figure: Figure, axes: list[Axes], columns: int = 4) -> None:
    """Add one legend below all panels, with every label once."""
    entries: dict[str, Artist] = {}
    for ax in axes:
        for handle in (*ax.lines, *ax.collections):
            name = handle.get_gid()
            if name:
                entries.setdefault(name, handle)
    if entries:
        # A leading underscore hides a label in matplotlib; a thin space before it does not.
        labels = [f" {name}" if name.startswith("_") else name for name in entries]
        figure.legend(
            list(entries.values()),
            labels,
            loc="outside lower center",
            ncols=min(columns, len(labels)),
        )


def save(figure: Figure, path: str | Path, dpi: int = 150) -> Path:
    """Write ``figure`` as PNG, atomically.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    path = Path(path)
    with _style(), atomic_write(path, "wb") as handle:
        figure.savefig(handle, format="png", dpi=dpi, metadata={"Software": None})
    return path
