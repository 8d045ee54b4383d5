#!/usr/bin/env python3
"""Does a transformer learn faster when it starts from word vectors?

In: a text (or, with --pairs, lines of `source TAB target`). Out: a CSV of the held-out losses, a Markdown table on standard
output, and the curves as an SVG. The one idea: two starts that differ in nothing but the token table (and, with a tree,
its nodes), the same tokens, seeds, batches and steps; how many steps does the planted one need to come to the loss that
the random one ends with?

    cargo build --release
    python3 tests/benches/planted.py --text english.txt --steps 2000 --seeds 1 2 3
    python3 tests/benches/planted.py --pairs train.tsv --validation val.tsv --steps 2000

Runs that are there already (their logs, in --work) are not repeated, so a long job can be taken up again, and --steps 0
only draws. Only the standard library is needed.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parents[2]
COLOURS = {"random": "#c2410c", "planted": "#15803d"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--validation", type=Path, help="default: 2 %% of the text is held out")
    parser.add_argument("--vectors-text", type=Path, help="what the vectors learn from; default: the same text")
    parser.add_argument("--work", type=Path, default=ROOT / "target/planted")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/wordgrove")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--dim", type=int, help="of the vectors; default: d_model")
    parser.add_argument("--d-model", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=5, help="of the vectors")
    parser.add_argument("--architecture", default="skip-gram")
    parser.add_argument("--flags", default="", help="more flags for `transformer train`, in one string")
    args = parser.parse_args()
    if not (args.text or args.pairs):
        parser.error("give --text or --pairs")
    # A bare name would be looked for on the path.
    args.program = args.program.resolve()
    args.work.mkdir(parents=True, exist_ok=True)

    rows = []
    for seed in args.seeds:
        for start in ("random", "planted"):
            rows += [(start, seed, *point) for point in curve(args, start, seed)]
    path = args.work / "curves.csv"
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["start", "seed", "step", "seconds", "train_loss", "validation_loss"])
        writer.writerows(rows)
    table(rows, args.seeds)
    (args.work / "curves.svg").write_text(svg(rows, "held-out loss, nats per token"))
    print(f"\n{path}\n{args.work / 'curves.svg'}", file=sys.stderr)


def wordgrove(args, *arguments):
    command = [str(args.program), *map(str, arguments)]
    print("$", " ".join(command), file=sys.stderr, flush=True)
    subprocess.run(command, check=True)


def vectors(args):
    """The model of vectors; trained on the text, of pairs on both sides, a line each."""
    path = args.work / "vectors"
    if path.exists():
        return path
    text = args.vectors_text or args.text
    if text is None:
        text = args.work / "sides.txt"
        text.write_text(args.pairs.read_text(encoding="utf-8").replace("\t", "\n"), encoding="utf-8")
    wordgrove(args, "train", text, "-o", path, "--vocab-size", args.vocab_size, "--dim", args.dim or args.d_model,
              "--architecture", args.architecture, "--epochs", args.epochs, "--log", args.work / "vectors.jsonl")
    return path


def curve(args, start, seed):
    """(step, seconds, training loss, held-out loss) of one run."""
    log = args.work / f"{start}-{seed}.jsonl"
    if not log.exists() and args.steps:
        model = args.work / f"{start}-{seed}"
        flags = ["--plant" if start == "planted" else "--tokenizer", vectors(args), "--seed", seed, "--steps", args.steps,
                 "--validate-every", args.every, "--d-model", args.d_model, "--log", log.with_suffix(".part")]
        if args.pairs:
            flags += ["--shape", "encoder-decoder"]
        if args.validation:
            flags += ["--validation", args.validation]
        wordgrove(args, "transformer", "train", args.pairs or args.text, "-o", model, *flags, *args.flags.split())
        log.with_suffix(".part").rename(log)
    if not log.exists():
        return []
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [(e["step"], e["seconds"], e["train_loss"], e["validation_loss"]) for e in events if e["event"] == "validated"]


def reaches(points, loss):
    """The step and the seconds after which a curve is down at a loss, between two measurements; None where it never is."""
    before = None
    for step, seconds, _, here in points:
        if here <= loss:
            if before is None:
                return step, seconds
            share = (before[2] - loss) / (before[2] - here) if before[2] > here else 1.0
            return before[0] + share * (step - before[0]), before[1] + share * (seconds - before[1])
        before = (step, seconds, here)
    return None


def table(rows, seeds):
    print("| seed | random start ends at | after | planted start is there after | ends at |")
    print("| --- | --- | --- | --- | --- |")
    for seed in seeds:
        of = {start: [row[2:] for row in rows if row[:2] == (start, seed)] for start in COLOURS}
        if not all(of.values()):
            continue
        last, seconds, _, loss = min(of["random"], key=lambda point: point[3])
        there = reaches(of["planted"], loss)
        said = f"{there[0]:.0f} steps, {there[1]:.0f} s" if there else "never"
        print(f"| {seed} | {loss:.3f} | {last} steps, {seconds:.0f} s | {said} | "
              f"{min(point[3] for point in of['planted']):.3f} |")


def svg(rows, label, width=720, height=400, margin=56):
    """The mean of the seeds as a line, the seeds' range as a band."""
    points = {}
    for start, _, step, _, _, loss in rows:
        points.setdefault(start, {}).setdefault(step, []).append(loss)
    steps = [step for curve in points.values() for step in curve]
    losses = [loss for curve in points.values() for found in curve.values() for loss in found]
    if not steps:
        return "<svg xmlns='http://www.w3.org/2000/svg'/>"
    # The first measurement is far above the others, and would press them together.
    second = sorted({step for step in steps})[min(1, len(set(steps)) - 1)]
    top = max([fmean(curve[second]) for curve in points.values() if second in curve] + [min(losses) + 0.1])
    bottom = min(losses)
    pad = 0.05 * (top - bottom)
    low, high = bottom - pad, top + pad
    x = lambda step: margin + (width - 2 * margin) * step / max(steps)
    y = lambda loss: margin / 2 + (height - 1.5 * margin) * (high - min(loss, high)) / (high - low)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
           f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
    for i in range(6):
        loss = low + pad + (high - low - 2 * pad) * i / 5
        out.append(f'<line x1="{margin}" x2="{width - margin}" y1="{y(loss):.1f}" y2="{y(loss):.1f}" stroke="#e5e7eb"/>')
        out.append(f'<text x="{margin - 8}" y="{y(loss) + 4:.1f}" text-anchor="end" fill="#374151">{loss:.2f}</text>')
        step = max(steps) * i / 5
        out.append(f'<text x="{x(step):.1f}" y="{height - margin + 20}" text-anchor="middle" fill="#374151">{step:.0f}</text>')
    out.append(f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle" fill="#374151">steps</text>')
    out.append(f'<text x="{margin}" y="16" fill="#374151">{label}</text>')
    for number, (start, curve) in enumerate(sorted(points.items())):
        colour = COLOURS[start]
        order = sorted(curve)
        upper = [f"{x(s):.1f},{y(max(curve[s])):.1f}" for s in order]
        lower = [f"{x(s):.1f},{y(min(curve[s])):.1f}" for s in reversed(order)]
        out.append(f'<polygon points="{" ".join(upper + lower)}" fill="{colour}" fill-opacity="0.15"/>')
        line = " ".join(f"{x(s):.1f},{y(fmean(curve[s])):.1f}" for s in order)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        at = margin / 2 + 18 + 20 * number
        out.append(f'<line x1="{width - margin - 120}" x2="{width - margin - 96}" y1="{at}" y2="{at}" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{width - margin - 90}" y="{at + 4}" fill="#374151">{start} start</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


if __name__ == "__main__":
    main()
