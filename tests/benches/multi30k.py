#!/usr/bin/env python3
"""English to French with half an hour on two cores: wordgrove, and the same model in PyTorch with the same budget.

In: the folder of multi30k (train, val and test_2016_flickr, .en and .fr). Out: BLEU and chrF on test_2016, as Markdown.
The one idea: both programs get the same pairs as the same ids (wordgrove's tokenizer), the same model (encoder-decoder,
post-norm, ReLU, sinusoids, tied table with a bias; what nn.Transformer does otherwise is undone below), the same batches'
size, schedule and optimizer, the same number of minutes of training on the same number of threads, and the best of eight
looks at the held-out loss; what is compared is what comes out. Only the random numbers differ.

    cargo build --release
    python3 -m venv target/multi30k/venv && target/multi30k/venv/bin/pip install torch sacrebleu tokenizers
    target/multi30k/venv/bin/python tests/benches/multi30k.py --minutes 30 --threads 2

--only wordgrove or --only torch does one half. wordgrove has no flag for minutes: its steps are counted from a short run
before. PyTorch stops by the clock, and its schedule is stretched over the steps that a short run foretells.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("WORDGROVE_SHARED", ROOT.parent / "shared")) / "data/parallel"
SETTINGS = {"d_model": 256, "n_heads": 8, "n_layers": 3, "d_ff": 1024, "context_len": 64, "dropout": 0.1,
            "batch_size": 64, "learning_rate": 1e-3, "warmup_steps": 400, "final_rate": 0.05, "weight_decay": 0.01,
            "beta1": 0.9, "beta2": 0.98, "clip_norm": 1.0, "seed": 1}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--work", type=Path, default=ROOT / "target/multi30k")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/wordgrove")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocab-size", type=int, default=8000)
    parser.add_argument("--steps", type=int, help="instead of minutes, for both")
    parser.add_argument("--plant", action="store_true", help="start wordgrove from word vectors of the same pairs")
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--only", choices=["wordgrove", "torch"])
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for part in ("train", "val"):
        sides = [(args.data / f"multi30k.{part}.{side}").read_text(encoding="utf-8").splitlines() for side in ("en", "fr")]
        lines = [f"{en}\t{fr}\n" for en, fr in zip(*sides, strict=True) if en.strip() and fr.strip()]
        (args.work / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")
    (args.work / "sides.txt").write_text((args.work / "train.tsv").read_text(encoding="utf-8").replace("\t", "\n"), encoding="utf-8")
    (args.work / "settings.json").write_text(json.dumps({"shape": "encoder-decoder", **SETTINGS}))
    if not (args.work / "vectors").exists():
        run(args, "train", args.work / "sides.txt", "-o", args.work / "vectors", "--vocab-size", args.vocab_size, "--dim",
            SETTINGS["d_model"], "--architecture", "skip-gram", "--epochs", 10, "--threads", args.threads, "--quiet")
    for program in ("wordgrove", "torch"):
        if args.only in (None, program):
            {"wordgrove": ours, "torch": torch_twin}[program](args)
            report(args, program)


def run(args, *arguments, stdin=None, stdout=None):
    command = [str(args.program), *map(str, arguments)]
    print("$", " ".join(command), file=sys.stderr, flush=True)
    subprocess.run(command, check=True, stdin=stdin, stdout=stdout)


def ours(args):
    def train(model, steps, *flags):
        start = ["--plant" if args.plant else "--tokenizer", args.work / "vectors"]
        run(args, "transformer", "train", args.work / "train.tsv", "-o", model, "--validation", args.work / "val.tsv",
            "--config", args.work / "settings.json", "--threads", args.threads, "--steps", steps, *start, *flags)

    steps = args.steps
    if not steps:
        log = args.work / "short.jsonl"
        train(args.work / "short", 40, "--validate-every", 20, "--log", log, "--quiet")
        done = [event for event in map(json.loads, log.read_text().splitlines()) if event["event"] == "validated"]
        # Measuring eight times costs about as much as one step in fifty.
        steps = int(0.97 * 60 * args.minutes / ((done[1]["seconds"] - done[0]["seconds"]) / 20))
    started = time.time()
    train(args.work / "wordgrove", steps, "--validate-every", max(steps // 8, 1), "--log", args.work / "wordgrove.jsonl")
    print(f"wordgrove: {steps} steps in {(time.time() - started) / 60:.1f} minutes", file=sys.stderr)
    with (args.data / "multi30k.test_2016_flickr.en").open() as source, (args.work / "wordgrove.fr").open("w") as out:
        run(args, "transformer", "translate", args.work / "wordgrove", "--beam", args.beam, "--threads", args.threads,
            stdin=source, stdout=out)


def report(args, program):
    import sacrebleu
    found = (args.work / f"{program}.fr").read_text(encoding="utf-8").splitlines()
    wanted = (args.data / "multi30k.test_2016_flickr.fr").read_text(encoding="utf-8").splitlines()
    bleu, chrf = sacrebleu.corpus_bleu(found, [wanted]), sacrebleu.corpus_chrf(found, [wanted])
    print(f"| {program} | BLEU {bleu.score:.1f} | chrF {chrf.score:.1f} | {len(found)} lines |", flush=True)


def torch_twin(args):
    import torch
    from tokenizers import Tokenizer
    torch.manual_seed(SETTINGS["seed"])
    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(str(args.work / "vectors/tokenizer.json"))
    n = tokenizer.get_vocab_size()
    pad, start, end, n_tokens = n, n + 1, n + 2, n + 3
    width, heads, layers, context = (SETTINGS[name] for name in ("d_model", "n_heads", "n_layers", "context_len"))

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(n_tokens, width)
            torch.nn.init.normal_(self.table.weight, std=width**-0.5)
            self.core = torch.nn.Transformer(width, heads, layers, layers, SETTINGS["d_ff"], SETTINGS["dropout"],
                                             batch_first=True)
            # The paper's stacks end with the last layer's own norm; nn.Transformer adds one more.
            self.core.encoder.norm = self.core.decoder.norm = None
            for layer in [*self.core.encoder.layers, *self.core.decoder.layers]:
                # It also drops inside the feed-forward part, and draws that part's biases.
                layer.dropout.p = 0.0
                torch.nn.init.zeros_(layer.linear1.bias)
                torch.nn.init.zeros_(layer.linear2.bias)
            for part in self.core.modules():
                if isinstance(part, torch.nn.MultiheadAttention):
                    # It draws queries, keys and values as one matrix, and so a factor of sqrt(2) smaller.
                    for block in part.in_proj_weight.detach().chunk(3):
                        torch.nn.init.xavier_uniform_(block)
            self.bias = torch.nn.Parameter(torch.zeros(n_tokens))
            self.dropout = torch.nn.Dropout(SETTINGS["dropout"])
            place = torch.arange(context)[:, None]
            angle = place / 10000 ** (2 * torch.arange(width // 2)[None, :] / width)
            self.register_buffer("positions", torch.cat([angle.sin(), angle.cos()], 1))

        def embed(self, ids):
            return self.dropout(self.table(ids) * width**0.5 + self.positions[: ids.shape[1]])

        def encode(self, source):
            return self.core.encoder(self.embed(source), src_key_padding_mask=source == pad)

        def decode(self, memory, source, target):
            mask = torch.nn.Transformer.generate_square_subsequent_mask(target.shape[1])
            hidden = self.core.decoder(self.embed(target), memory, tgt_mask=mask, tgt_is_causal=True,
                                       memory_key_padding_mask=source == pad)
            return hidden @ self.table.weight.T + self.bias

    def read(path):
        pairs = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        ids = [[tokenizer.encode(side, add_special_tokens=False).ids for side in pair] for pair in pairs]
        return [pair for pair in ids if all(0 < len(side) < context for side in pair)]

    def batches(pairs, rng):
        order, size = list(range(len(pairs))), SETTINGS["batch_size"]
        rng.shuffle(order)
        made = []
        for at in range(0, len(order), 50 * size):
            group = sorted(order[at : at + 50 * size], key=lambda i: (len(pairs[i][1]), len(pairs[i][0])))
            made += [group[i : i + size] for i in range(0, len(group), size)]
        rng.shuffle(made)
        return made

    def padded(rows):
        longest = max(map(len, rows))
        return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])

    model = Model()
    decays = [p for p in model.parameters() if p.ndim > 1]
    groups = [{"params": decays}, {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=SETTINGS["learning_rate"], betas=(SETTINGS["beta1"], SETTINGS["beta2"]),
                                  weight_decay=SETTINGS["weight_decay"], fused=True)
    pairs, held_out = read(args.work / "train.tsv"), read(args.work / "val.tsv")
    rng = random.Random(SETTINGS["seed"])

    def loss_of(pairs, batch):
        source = padded([pairs[i][0] + [end] for i in batch])
        target = padded([[start] + pairs[i][1] for i in batch])
        answers = padded([pairs[i][1] + [end] for i in batch])
        logits = model.decode(model.encode(source), source, target)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=pad), answers

    def step(batch):
        loss, _ = loss_of(pairs, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["clip_norm"])
        optimizer.step()
        return loss.item()

    def held_out_loss():
        model.eval()
        total, asked, size = 0.0, 0, SETTINGS["batch_size"]
        with torch.no_grad():
            for at in range(0, len(held_out), size):
                loss, answers = loss_of(held_out, range(at, min(at + size, len(held_out))))
                n = (answers != pad).sum().item()
                total, asked = total + loss.item() * n, asked + n
        model.train()
        return total / asked

    def set_rate(number, total):
        warmup, floor = SETTINGS["warmup_steps"], SETTINGS["final_rate"]
        share = (number + 1) / warmup if number < warmup else floor + (1 - floor) * 0.5 * (
            1 + math.cos(math.pi * min((number - warmup) / max(total - warmup, 1), 1)))
        for group in optimizer.param_groups:
            group["lr"] = SETTINGS["learning_rate"] * share

    total = args.steps
    if not total:
        trial = batches(pairs, rng)[:40]
        set_rate(0, 1000)
        for batch in trial[:20]:
            step(batch)
        began = time.time()
        for batch in trial[20:]:
            step(batch)
        # As for wordgrove, measuring costs about one step in fifty.
        total = int(0.97 * 60 * args.minutes / ((time.time() - began) / 20))
        torch.manual_seed(SETTINGS["seed"])
        model.load_state_dict(Model().state_dict())
        optimizer.state.clear()
        rng = random.Random(SETTINGS["seed"])
    began, number, since = time.time(), 0, []
    best, lowest = None, math.inf
    def keep_the_best():
        nonlocal best, lowest
        loss = held_out_loss()
        print(f"torch step {number}/{total}: held-out {loss:.4f}", file=sys.stderr, flush=True)
        if loss < lowest:
            best, lowest = {name: tensor.clone() for name, tensor in model.state_dict().items()}, loss

    while number < total:
        for batch in batches(pairs, rng):
            set_rate(number, total)
            since.append(step(batch))
            number += 1
            if number % 200 == 0:
                print(f"torch step {number}/{total}: loss {sum(since) / len(since):.4f}", file=sys.stderr, flush=True)
                since = []
            if number % max(total // 8, 1) == 0:
                keep_the_best()
            if number >= total or not args.steps and time.time() - began > 60 * args.minutes:
                break
        if not args.steps and time.time() - began > 60 * args.minutes:
            break
    if number % max(total // 8, 1):
        keep_the_best()
    model.load_state_dict(best)
    print(f"torch: {number} steps in {(time.time() - began) / 60:.1f} minutes", file=sys.stderr)

    model.eval()
    with torch.no_grad(), (args.work / "torch.fr").open("w", encoding="utf-8") as out:
        for line in (args.data / "multi30k.test_2016_flickr.en").read_text(encoding="utf-8").splitlines():
            source = torch.tensor([tokenizer.encode(line, add_special_tokens=False).ids[: context - 1] + [end]])
            out.write(tokenizer.decode(beam(model, source, args.beam, start, end, pad, context)) + "\n")


def beam(model, source, width, start, end, pad, most):
    """Log-probability over length, as `wordgrove transformer translate`; without a cache, so it is slower."""
    import torch
    memory = model.encode(source)
    going, finished = [([start], 0.0)], []
    for n in range(1, most):
        targets = torch.tensor([ids for ids, _ in going])
        k = len(going)
        logits = model.decode(memory.expand(k, -1, -1), source.expand(k, -1), targets)[:, -1]
        logits[:, [start, pad]] = float("-inf")
        scores = torch.log_softmax(logits, -1) + torch.tensor([score for _, score in going])[:, None]
        best = scores.flatten().topk(2 * width)
        following = []
        for score, at in zip(best.values.tolist(), best.indices.tolist()):
            ids, token = going[at // scores.shape[1]][0], at % scores.shape[1]
            if token == end:
                finished.append((score / n, ids[1:]))
            elif len(following) < width:
                following.append((ids + [token], score))
        going = following
        finished = sorted(finished, reverse=True)[:width]
        if len(finished) == width and finished[-1][0] >= max(score for _, score in going) / most:
            break
    return finished[0][1] if finished else going[0][0][1:]


if __name__ == "__main__":
    main()
