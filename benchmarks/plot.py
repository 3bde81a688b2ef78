"""The figures as people read them: in words, and as a picture with one line a figure, one mark a contestant,
the same bytes for the same figures."""

import matplotlib
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

from cdc_utils.pictures import INK, as_picture

LOOKS = {
    "ours": ("o", "#2f7fd1", "cdc_utils"),
    "ours, Spark": ("x", "#2f7fd1", "cdc_utils on Spark"),
    "ours, whole update": (".", "#2f7fd1", "cdc_utils, whole update"),
    "handwritten": ("D", "#d9622b", "MERGE by hand"),
    "floor": ("s", "#7a7a7a", "floor: one Delta table"),
    "duckdb": ("^", "#a07d00", "DuckDB, whole"),
    "spark": ("P", "#b05cc6", "Spark shows it"),
}
STYLE = {
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "font.size": 9,
}


def shown(value, unit):
    "A value as a reader wants it."
    return f"{value:,.0f} {unit}" if unit in ("MiB", "1/s") else f"{value:,.2f} {unit}"


def limit(figure):
    "How far a figure should reach; nothing where that is not judged."
    return " ".join(
        f"{sign} {figure[key]:g}"
        for key, sign in (("at_most", "≤"), ("at_least", "≥"))
        if figure[key] is not None
    )


def line_name(figure):
    "What stands at the left of a figure's line."
    return figure["title"].removesuffix(", whole process") + (
        f"\n{figure['events']:,} events" if figure["events"] else ""
    )


def described(figures):
    "The picture in words, for those who do not see it."

    def medians(figure):
        return ", ".join(
            f"{LOOKS[name][2]} {contestant['median']:.2f} s"
            for name, contestant in figure["contestants"].items()
        )

    return " ".join(
        f"{line_name(figure).replace(chr(10), ', ')}: {medians(figure)}."
        for figure in figures
        if figure["unit"] == "s"
    )


def picture(figures):
    "A `Picture` of every figure that is a time."
    timed = [figure for figure in figures if figure["unit"] == "s"]
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(8, 1 + 0.42 * len(timed)), layout="constrained")
        axes = canvas.subplots()
        for place, figure in enumerate(reversed(timed)):
            for name, contestant in figure["contestants"].items():
                marker, colour, label = LOOKS[name]
                axes.plot(
                    contestant["runs"],
                    [place] * len(contestant["runs"]),
                    "|",
                    color=colour,
                    markersize=5,
                    alpha=0.5,
                )
                size, above = (
                    (6, 4) if name.startswith("ours") else (9, 3)
                )  # ours on top and smaller, so that of two equal medians both are seen
                axes.plot(
                    [contestant["median"]],
                    [place],
                    marker,
                    color=colour,
                    markersize=size,
                    zorder=above,
                    label=label,
                    linestyle="none",
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set(
            xlabel="seconds, median; thin strokes are single runs",
            yticks=range(len(timed)),
            yticklabels=[line_name(figure) for figure in reversed(timed)],
        )
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.grid(axis="y", color="#7a7a7a", alpha=0.3)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        labels = [label for *_, label in LOOKS.values() if label in handles]
        axes.legend(
            [handles[label] for label in labels],
            labels,
            loc="lower center",
            bbox_to_anchor=(0.3, 1),
            ncols=3,
            frameon=False,
        )
    return as_picture(canvas, described(figures))
