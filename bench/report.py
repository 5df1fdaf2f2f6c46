#!/usr/bin/env python3
"""Tables and plots of docs/PERFORMANCE.md from the results that scripts/gpu.sh writes.

    bench/report.py bench/results/NEWEST.json [OLDER.json ...] [--plots docs/plots]

Of each figure the first file that has it counts; those of older files are marked *. Prints Markdown. --plots also writes SVG
files (needs matplotlib).
"""
import argparse
import json
import pathlib
import re

MODELS = {"qwen2.5-0.5b": "Qwen2.5-0.5B", "qwen2.5-7b": "Qwen2.5-7B", "qwen3-8b": "Qwen3-8B"}
FORMATS = {"f16": "F16", "q8_0": "Q8_0", "q4_k_m": "Q4_K_M"}
STREAMS = (1, 8, 32, 64, 128, 256)
PROMPTS = (512, 2048)


class Results:
    """Figures of `qwend bench` by model and format, newest first."""

    def __init__(self, files):
        self.stages = [json.loads(pathlib.Path(f).read_text())["stages"] for f in files]

    def report(self, model, format):
        return next((s[f"bench/{model}-{format}"]["report"] for s in self.stages if f"bench/{model}-{format}" in s), None)

    def figure(self, model, format, test, streams):
        """(row of the report, whether it is of an older run), or (None, False). test: a regular expression."""
        for age, stages in enumerate(self.stages):
            rows = stages.get(f"bench/{model}-{format}", {}).get("report", {}).get("results", [])
            for row in rows:
                if row["streams"] == streams and re.fullmatch(test, row["test"]):
                    return row, age > 0
        return None, False

    def prompt(self, model, format, tokens):
        return self.figure(model, format, f"pp{tokens}", 1)

    def decode(self, model, format, streams):
        return self.figure(model, format, r"tg\d+ \+ sampling", streams)

    def measured(self):
        """(model, format) pairs with a report, in the tables' order."""
        return [(m, f) for m in MODELS for f in FORMATS if self.report(m, f)]


# ---- tables

def print_row(cells):
    print("| " + " | ".join(cells) + " |")


def speed_table(results):
    head = ["model", *(f"prompt {n:,}" for n in PROMPTS), "1 stream", *map(str, STREAMS[1:])]
    print_row(head)
    print_row(["---"] * len(head))
    for model, format in results.measured():
        figures = [results.prompt(model, format, n) for n in PROMPTS] + [results.decode(model, format, n) for n in STREAMS]
        cells = [f"{row['tokens_per_second']:,.0f} ({row['share_of_limit']:.0%}){' *' if old else ''}" if row else ""
                 for row, old in figures]
        print_row([f"{MODELS[model]} {FORMATS[format]}", *cells])


def loading_table(results):
    head = ["model", "GB", "loaded, s", "GB/s", "first token, s"]
    print_row(head)
    print_row(["---"] * len(head))
    for model, format in results.measured():
        r = results.report(model, format)
        print_row([f"{MODELS[model]} {FORMATS[format]}", f"{r['model_bytes'] / 1e9:.2f}", f"{r['load_seconds']:.2f}",
                   f"{r['load_bandwidth'] / 1e9:.1f}", f"{r['first_token_seconds']:.2f}"])


# ---- plots

COLORS = {"f16": "#4477aa", "q8_0": "#228833", "q4_k_m": "#cc6677"}
LINES = {"qwen2.5-0.5b": "o-", "qwen2.5-7b": "s-", "qwen3-8b": "^--"}


def plain_axes(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def plot_limits(plt, results, path):
    """One stream and a prompt of 2,048 tokens: how much of what the device can do."""
    names = results.measured()
    figure, both = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    titles = ("1 stream, of the read bandwidth", "prompt of 2,048 tokens, of cuBLASLt's FP16 rate")
    figures = (lambda m, f: results.decode(m, f, 1)[0], lambda m, f: results.prompt(m, f, 2048)[0])
    for axes, title, of in zip(both, titles, figures):
        plain_axes(axes)
        for y, (model, format) in enumerate(names):
            row = of(model, format)
            if row is None:
                continue
            axes.barh(y, 100, color="#eeeeee", height=0.7)
            axes.barh(y, 100 * row["share_of_limit"], color=COLORS[format], height=0.7)
            label, inside = f"{row['tokens_per_second']:,.0f} tokens/s", row["share_of_limit"] > 0.6
            axes.text(100 * row["share_of_limit"] + (-1.5 if inside else 1.5), y, label, va="center", fontsize=8.5,
                      ha="right" if inside else "left", color="white" if inside else "black")
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}%")
        axes.set_title(title, fontsize=10, loc="left")
    both[0].set_yticks(range(len(names)), [f"{MODELS[m]} {FORMATS[f]}" for m, f in names])
    both[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def plot_streams(plt, results, path):
    """Tokens/s of all streams together by their number."""
    figure, axes = plt.subplots(figsize=(7.5, 4.6))
    plain_axes(axes)
    for model, format in results.measured():
        points = [(n, results.decode(model, format, n)[0]) for n in STREAMS]
        points = [(n, row["tokens_per_second"]) for n, row in points if row]
        axes.plot(*zip(*points), LINES[model], color=COLORS[format], markersize=4.5, linewidth=1.4,
                  label=f"{MODELS[model]} {FORMATS[format]}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(STREAMS, map(str, STREAMS))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.0f}")
    axes.set_xlabel("streams")
    axes.set_ylabel("tokens/s, all together")
    axes.legend(fontsize=8, frameon=False, ncols=1, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def write_plots(results, folder):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "qwend", "font.family": "sans-serif"})
    folder.mkdir(parents=True, exist_ok=True)
    plot_limits(plt, results, folder / "limits.svg")
    plot_streams(plt, results, folder / "streams.svg")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", help="files of bench/results, newest first")
    parser.add_argument("--plots", type=pathlib.Path, help="folder for SVG files")
    a = parser.parse_args()
    results = Results(a.results)
    speed_table(results)
    print()
    loading_table(results)
    if a.plots:
        write_plots(results, a.plots)


if __name__ == "__main__":
    main()
