#!/usr/bin/env python3
"""wordgrove beside the tools that users would otherwise pick: word2vec.c, gensim, fastText.

In: a text of words and spaces, a line a sentence. Out: Markdown tables on standard output, every single run on standard
error. The one idea: same text, settings, machine and hour, the tools taking turns, so that the ratios mean something
even where the seconds do not.

    python3 -m venv target/peers/venv && target/peers/venv/bin/pip install gensim fasttext numpy scipy
    cargo build --release
    target/peers/venv/bin/python tests/benches/peers.py --speed --quality --job

--speed    CPU seconds (user + system of the whole process) with one epoch and with two. The difference is what one more
           epoch costs: training alone, without start, vocabulary and saving, found in the same way for every tool.
--quality  5 epochs, then `wordgrove evaluate` judges every tool's vectors: analogies among the 30,000 most frequent
           words, and Spearman's correlation with people's judgement of word pairs.
--job      from the text file to saved vectors, 5 epochs, 2 threads: what a user waits for and pays.

All learn whole words that occur 5 times or more, with hierarchical softmax, window 5, sample 1e-3, a learning rate of
0.025 (skip-gram) or 0.05 (CBOW). wordgrove runs as it comes: it also measures its loss on 0.1 % of the lines, kept out
of training, after every epoch, and saves both matrices and the tokenizer where the others save the word vectors.

word2vec.c is compiled here with every compiler at hand. No build of it is the fastest at both architectures (as
shipped, -O3, it can be 3 times slower), so the fastest at each is the one to beat. Its last version stops after the
first epoch when it has one thread, for a flag that is not reset at the end of the file: we reset it, and a run whose
progress ends below 97 % is an error.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import unicodedata
from collections import namedtuple
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from statistics import fmean, median
from tempfile import TemporaryFile

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WORDGROVE_SHARED", ROOT.parent / "shared")) / "data"
WORDGROVE = ROOT / "target/release/wordgrove"
WORK = ROOT / "target/peers"
RATES = {"skip-gram": 0.025, "cbow": 0.05}
PACKAGES = {package.name.lower(): package.version for package in distributions()}
TOP_VOCAB = 30_000
PEERS = ["word2vec.c", "gensim", "fastText"]

# What a tool is asked to do; what a process has cost: user + system seconds of all threads, seconds, MiB.
Job = namedtuple("Job", "text output architecture rate dim epochs threads seed")
Run = namedtuple("Run", "cpu_s wall_s peak_mib")

def wordgrove(job):
    return [WORDGROVE, "train", job.text, "-o", job.output, "--tokens", "word", "--split", "whitespace", "--quiet",
            "--min-count", 5, "--architecture", job.architecture, "--dim", job.dim, "--window", 5, "--sample", 1e-3,
            "--learning-rate", job.rate, "--epochs", job.epochs, "--threads", job.threads, "--seed", job.seed]


def word2vec_c(binary, job):
    return [binary, "-train", job.text, "-output", job.output, "-binary", 1, "-hs", 1, "-negative", 0, "-min-count", 5,
            "-cbow", int(job.architecture == "cbow"), "-size", job.dim, "-window", 5, "-sample", 1e-3,
            "-alpha", job.rate, "-iter", job.epochs, "-threads", job.threads]


# `corpus_file` is gensim's fastest way in; its usual iterator over lines takes a fifth to a half longer.
GENSIM = """
import json, sys; job = json.loads(sys.argv[1])
from gensim.models import Word2Vec
model = Word2Vec(vector_size=job["dim"], window=5, min_count=5, sample=1e-3, hs=1, negative=0, alpha=job["rate"],
                 sg=int(job["architecture"] == "skip-gram"), workers=job["threads"], seed=job["seed"])
model.build_vocab(corpus_file=job["text"])
_, words = model.train(corpus_file=job["text"], total_words=model.corpus_total_words, epochs=job["epochs"])
assert words >= 0.99 * job["epochs"] * model.corpus_total_words, words
model.wv.save_word2vec_format(job["output"], binary=True)
"""

# Without n-grams of letters (minn = maxn = 0) fastText is word2vec, and row i of its matrix is word i.
FASTTEXT = """
import json, sys; job = json.loads(sys.argv[1])
import fasttext
model = fasttext.train_unsupervised(job["text"], model=job["architecture"].replace("-", ""), loss="hs", dim=job["dim"],
    ws=5, minCount=5, minn=0, maxn=0, t=1e-3, lr=job["rate"], epoch=job["epochs"], thread=job["threads"], verbose=0)
words, matrix = model.get_words(), model.get_input_matrix()
with open(job["output"], "wb") as out:
    out.write(b"%d %d\\n" % (len(words), job["dim"]))
    for word, row in zip(words, matrix):
        out.write(word.encode() + b" " + row.tobytes() + b"\\n")
"""


def python_program(program, job):
    return [sys.executable, "-c", program, json.dumps(job._asdict(), default=str)]


def build_word2vec(given):
    """Name → binary, for every compiler that is here at -O3 and at -Ofast."""
    if given:
        source = given.read_text()
    else:  # the `word2vec` package on PyPI carries the C file
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
                        "--dest", WORK, "word2vec"], check=True)
        with tarfile.open(next(WORK.glob("word2vec-*.tar.gz"))) as archive:
            name = next(name for name in archive.getnames() if name.endswith("word2vec/includes/word2vec.c"))
            source = archive.extractfile(name).read().decode()
    if "&eof" in source:  # the version of 2017 with the flag that stops it early
        source = re.sub(r"(SEEK_SET\);)(\s*continue;)", r"\1 eof = 0;\2", source)
    (WORK / "word2vec.c").write_text(source)
    builds = {}
    for compiler in filter(shutil.which, ["gcc", "clang"]):
        for level in ["-O3", "-Ofast"]:
            binary = builds[f"{compiler}{level}"] = WORK / f"word2vec-{compiler}{level}"
            subprocess.run([compiler, WORK / "word2vec.c", "-o", binary, level, "-march=native", "-funroll-loops", "-w",
                            "-lm", "-pthread"], check=True)
    return builds


def fastest_build(builds, architecture, arguments):
    """The name of the build that is the fastest on the beginning of the text, about 2 million words."""
    with open(WORK / "trial.txt", "wb") as beginning:
        subprocess.run(["head", "-c", "12000000", arguments.text], stdout=beginning, check=True)
    trial = task("trial", architecture, 1, 1, arguments)._replace(text=WORK / "trial.txt")
    cpu_s = {name: measure(f"trial of {name}", partial(word2vec_c, builds[name]), trial).cpu_s for name in builds}
    tried = ", ".join(f"{name} {seconds:.2f}" for name, seconds in cpu_s.items())
    print(f"CPU seconds of word2vec.c for one epoch of the beginning of the text, {architecture}: {tried}\n")
    return min(cpu_s, key=cpu_s.get)


def tools_for(architecture, builds, arguments):
    """Name → function from a job to its command line; wordgrove first."""
    tools = {"wordgrove": wordgrove}
    if builds:
        names = arguments.builds or [fastest_build(builds, architecture, arguments)]
        tools |= {f"word2vec.c {name}": partial(word2vec_c, builds[name]) for name in names}
    for name, program in [("gensim", GENSIM), ("fastText", FASTTEXT)]:
        if name in arguments.tools and name.lower() in PACKAGES:
            tools[name] = partial(python_program, program)
        elif name in arguments.tools:
            say(f"{name} is skipped: {sys.executable} has no such package")
    return tools


def measure(name, tool, job):
    """Runs one tool on one job. This process must stay small: Linux counts the parent's memory up to the exec."""
    # gensim's BLAS must not add threads; wordgrove's own --threads does not reach the stages before training.
    limits = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": str(job.threads)}
    with TemporaryFile("w+", errors="replace") as printed:
        start = time.monotonic()
        process = subprocess.Popen([str(part) for part in tool(job)], stdout=printed, stderr=subprocess.STDOUT,
                                   env=os.environ | limits)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # the process has been waited for
        printed.seek(0)
        text = printed.read()
    if status != 0:
        sys.exit(f"{name} failed ({process.returncode}): {text[-2000:]}")
    progress = re.findall(r"Progress: ([\d.]+)%", text)
    if progress and float(progress[-1]) < 97:
        sys.exit(f"{name} stopped at {progress[-1]} % of {job.epochs} epochs")
    run = Run(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss / 1024)
    say(f"{name}, {job.architecture}, dim {job.dim}, epochs {job.epochs}, threads {job.threads}, seed {job.seed}: "
        f"{run.cpu_s:.2f} CPU s, {run.wall_s:.2f} s, {run.peak_mib:.0f} MiB, load {os.getloadavg()[0]:.2f}")
    return run


def task(name, architecture, epochs, threads, arguments, seed=1):
    output = WORK / re.sub(r"[^\w-]+", "-", f"{name}-{architecture}-{seed}-vectors")
    return Job(arguments.text, output, architecture, RATES[architecture], arguments.dim, epochs,
               arguments.threads or threads, seed)


def taking_turns(tools, architecture, epochs, threads, arguments):
    """Name → for every repeat, a run for each number of epochs. Every other round goes in reversed order."""
    runs = {name: [] for name in tools}
    for repeat in range(arguments.repeats):
        for name in list(tools)[:: -1 if repeat % 2 else 1]:
            jobs = [task(name, architecture, n, threads, arguments) for n in epochs]
            runs[name].append([measure(name, tools[name], job) for job in jobs])
    return runs


def speed(architecture, tools, n_words, arguments):
    runs, rates, rows = taking_turns(tools, architecture, [1, 2], 1, arguments), {}, []
    for name in tools:
        whole = [n_words / one.cpu_s / 1e3 for one, _ in runs[name]]
        one_more_epoch = [n_words / (two.cpu_s - one.cpu_s) / 1e3 for one, two in runs[name]]
        rates[name] = [whole, one_more_epoch]
        ratios = [f"{median(ours) / median(theirs):.2f}" for ours, theirs in zip(rates["wordgrove"], rates[name])]
        cpu_s, wall_s, mib = zip(*(one for one, _ in runs[name]))
        rows.append([name, *map(spread, rates[name]), *ratios, spread(cpu_s, 2), spread(wall_s, 2), f"{max(mib):.0f}"])
    table(f"Speed, {architecture}, dim {arguments.dim}, threads {arguments.threads or 1}: thousand words per CPU s,"
          f" median of {arguments.repeats} (lowest–highest)",
          ["tool", "whole process, 1 epoch", "training (one more epoch)", "wordgrove ÷ tool, whole",
           "wordgrove ÷ tool, training", "CPU s, 1 epoch", "wall s", "peak MiB"], rows)


def whole_job(architecture, tools, n_words, arguments):
    runs, rows = taking_turns(tools, architecture, [5], 2, arguments), []
    costs = {name: list(zip(*(run for [run] in runs[name]))) for name in tools}
    for name, (cpu_s, wall_s, mib) in costs.items():
        ratios = [f"{median(theirs) / median(ours):.2f}" for theirs, ours in zip(costs[name], costs["wordgrove"])]
        rows.append([name, spread(cpu_s, 1), spread(wall_s, 1), f"{max(mib):.0f}", *ratios])
    table(f"Whole job, {architecture}, dim {arguments.dim}, threads {arguments.threads or 2}: text file to saved "
          f"vectors, 5 epochs of {n_words:,} words, median of {arguments.repeats} (lowest–highest)",
          ["tool", "CPU s", "wall s", "peak MiB", "tool ÷ wordgrove, CPU", "wall", "memory"], rows)


def judge(vectors, arguments):
    """Accuracies in percent (total, semantic, syntactic), questions answered, correlations × 100."""
    flags = [f"--analogies={path}" for path in arguments.questions] + [f"--pairs={path}" for path in arguments.pairs]
    command = [WORDGROVE, "evaluate", vectors, "--json", "--top-vocab", str(TOP_VOCAB), *flags]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    numbers = []
    for questions in result["analogies"]:
        sections = questions["sections"]  # questions-words.txt begins with its five semantic ones
        for part in [sections, sections[:5], sections[5:]]:
            correct, answered = (sum(section[number] for section in part) for number in ["correct", "answered"])
            numbers.append(100 * correct / max(answered, 1))
        numbers.append(questions["total"]["answered"])
    return numbers + [100 * pairs["spearman"] for pairs in result["pairs"]]


def quality(title, vectors, arguments):
    """`vectors`: name → seed → file. A row for each, and the mean where a name has several seeds."""
    rows = []
    for name, files in vectors.items():
        judged = [judge(path, arguments) for path in files.values()]
        if len(files) > 1:
            judged.append([fmean(column) for column in zip(*judged)])
        for seed, numbers in zip([*files, "mean"], judged):
            rows.append([name, seed, *(f"{number:.0f}" if number > 100 else f"{number:.2f}" for number in numbers)])
    questions = ["analogies %", "semantic %", "syntactic %", "answered"] if arguments.questions else []
    table(f"Quality, {title}: analogies among the {TOP_VOCAB:,} most frequent words; word pairs, Spearman × 100",
          ["vectors", "seed", *questions, *(path.stem for path in arguments.pairs)], rows)


def trained_quality(architecture, tools, arguments):
    vectors = {}
    for name in tools:
        n_seeds = arguments.seeds if name in ["wordgrove", "gensim"] else 1  # the others offer no seed
        jobs = [task(name, architecture, 5, 1, arguments, seed) for seed in range(1, n_seeds + 1)]
        for job in jobs:
            measure(name, tools[name], job)
        vectors[name] = {job.seed: job.output for job in jobs}
    quality(f"{architecture}, dim {arguments.dim}, 5 epochs, threads {arguments.threads or 1}", vectors, arguments)


LETTERS = {"ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "œ": "oe", "þ": "th", "ð": "d", "ı": "i"}
CAPITALS = {letter.upper(): spelling for letter, spelling in LETTERS.items() if letter not in "ßı"}
DIGITS = dict(zip("0123456789", map(" {} ".format, "zero one two three four five six seven eight nine".split())))


def a_to_z(line):
    """Lower-case a-z words: accents dropped, digits spelled out, everything else a space."""
    line = re.sub(r"(?<=[0-9]),(?=[0-9])", "", line).translate(str.maketrans(LETTERS | CAPITALS))
    line = "".join(c for c in unicodedata.normalize("NFKD", line) if not unicodedata.combining(c))
    return re.sub(r"[^a-z]+", " ", line.translate(str.maketrans(DIGITS)).lower()).strip()


def default_text():
    source, target = SHARED / "corpora/english.txt.xz", WORK / "english.az.txt"
    if not target.exists():
        unpacking = subprocess.Popen(["xz", "-dc", source], stdout=subprocess.PIPE)
        lines, unfinished = io.TextIOWrapper(unpacking.stdout, "utf-8", newline="\n"), target.with_suffix(".part")
        with open(unfinished, "w") as out:
            out.writelines(words + "\n" for words in map(a_to_z, lines) if words)
        unfinished.rename(target) if unpacking.wait() == 0 else sys.exit("no text: give one with --text")
    return target


def say(message):
    print(message, file=sys.stderr, flush=True)


def first_line(*command):
    found = shutil.which(command[0]) and subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return found[0] if found else f"no {command[0]}"


def spread(values, digits=0):
    middle, low, high = (f"{of(values):,.{digits}f}" for of in [median, min, max])
    return middle if len(values) == 1 else f"{middle} ({low}–{high})"


def table(title, head, rows):
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in [head, ["---"] * len(head), *rows]]
    print(f"**{title}**", "", *lines, "", sep="\n", flush=True)


def describe(n_words, arguments):
    cpu = re.search(r"Model name:\s*(.*)", subprocess.run(["lscpu"], capture_output=True, text=True).stdout)
    commit = first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    versions = [f"{first_line(WORDGROVE, '--version')} ({commit})", first_line("gcc", "--version"),
                first_line("clang", "--version"), *(f"{name} {PACKAGES.get(name)}" for name in ["gensim", "fasttext"]),
                f"word2vec.c of {arguments.word2vec_c or 'the PyPI package word2vec'}"]
    print(f"Machine: {cpu[1] if cpu else 'unknown'}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} at first",
          f"Versions: {'; '.join(versions)}", f"Text: {arguments.text.name}, {n_words:,} words\n", sep="\n", flush=True)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for mode in ["--speed", "--quality", "--job"]:
        parser.add_argument(mode, action="store_true")
    similarity = [SHARED / f"similarity/EN-{name}.txt" for name in ["WS-353-ALL", "SIMLEX-999"]]
    files = dict(type=Path, nargs="*")
    parser.add_argument("--text", type=Path, help="words and spaces, a line a sentence [default: the shared English]")
    parser.add_argument("--questions", **files, default=[SHARED / "analogies/questions-words.txt"], help="analogies")
    parser.add_argument("--pairs", **files, default=similarity, help="word pairs with scores by people")
    parser.add_argument("--vectors", **files, default=[], help="files that --quality judges, too")
    parser.add_argument("--tools", default=",".join(PEERS), help="whom to run beside wordgrove")
    parser.add_argument("--architecture", choices=[*RATES, "both"], default="both")
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--threads", type=int, help="[default: 1; with --job 2]")
    parser.add_argument("--repeats", type=int, default=3, help="of --speed and --job")
    parser.add_argument("--seeds", type=int, default=3, help="of --quality")
    parser.add_argument("--word2vec-c", type=Path, help="a word2vec.c to compile [default: from PyPI]")
    parser.add_argument("--builds", nargs="*", default=[], help="like gcc-Ofast clang-O3 [default: the fastest]")
    arguments = parser.parse_args()
    if not (arguments.speed or arguments.quality or arguments.job):
        parser.error("say --speed, --quality, --job or several of them")
    for name in [name for name in arguments.tools.split(",") if name not in PEERS]:
        parser.error(f"--tools: '{name}' is none of {', '.join(PEERS)}")
    if not WORDGROVE.exists():
        parser.error(f"{WORDGROVE} is not there: cargo build --release")
    for paths in [arguments.questions, arguments.pairs]:
        for absent in [path for path in paths if not path.exists()]:
            say(f"{absent} is skipped: it is not there")
            paths.remove(absent)
    return arguments


def main():
    arguments = read_arguments()
    WORK.mkdir(parents=True, exist_ok=True)
    arguments.text = arguments.text or default_text()
    n_words = int(first_line("wc", "-w", arguments.text).split()[0])
    builds = build_word2vec(arguments.word2vec_c) if "word2vec.c" in arguments.tools else {}
    describe(n_words, arguments)
    for architecture in RATES if arguments.architecture == "both" else [arguments.architecture]:
        tools = tools_for(architecture, builds, arguments)
        if arguments.speed:
            speed(architecture, tools, n_words, arguments)
        if arguments.quality:
            trained_quality(architecture, tools, arguments)
        if arguments.job:
            whole_job(architecture, tools, n_words, arguments)
    if arguments.quality and arguments.vectors:
        quality("files that were given", {path.name: {"": path} for path in arguments.vectors}, arguments)


if __name__ == "__main__":
    main()
