"""A training step of a small decoder here and in PyTorch: the same initial weights, the same batches, by turns.

    python tests/benches/transformer_peers.py TEXT [--steps 12] [--rounds 3]

Decoder: 4 layers, 8 heads, d 256, feed-forward 1024 (tanh GELU), context 128, vocabulary 8192, tied head, AdamW, batches
of 8 x 128 tokens. Prints the largest difference of the losses step by step, and tokens per second of wall and of CPU time
as medians over the rounds. Both sides get --threads threads (2). Needs torch, numpy, safetensors.
"""

import argparse
import collections
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("text")
parser.add_argument("--steps", type=int, default=12)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--worker", choices=["torch"])
parser.add_argument("--folder")
arguments = parser.parse_args()

LAYERS, HEADS, WIDTH, INNER, CONTEXT, TOKENS, BATCH = 4, 8, 256, 1024, 128, 8192, 8
RATE = 3e-4


def prepare(folder):
    """Writes weights.safetensors (GPT-2's initial spread) and batches.bin (u32, steps x batch x (context + 1))."""
    import numpy
    from safetensors.numpy import save_file

    random = numpy.random.default_rng(1)
    normal = lambda *shape, spread=0.02: (random.standard_normal(shape) * spread).astype("float32")
    zeros = lambda n: numpy.zeros(n, "float32")
    ones = lambda n: numpy.ones(n, "float32")
    weights = {"wte": normal(TOKENS, WIDTH), "wpe": normal(CONTEXT, WIDTH), "ln_f.gain": ones(WIDTH), "ln_f.bias": zeros(WIDTH)}
    for layer in range(LAYERS):
        for name, outputs, inputs in [("qkv", 3 * WIDTH, WIDTH), ("out", WIDTH, WIDTH), ("up", INNER, WIDTH), ("down", WIDTH, INNER)]:
            spread = 0.02 / (2 * LAYERS) ** 0.5 if name in ("out", "down") else 0.02
            weights[f"h.{layer}.{name}.weight"] = normal(outputs, inputs, spread=spread)
            weights[f"h.{layer}.{name}.bias"] = zeros(outputs)
        for name in ("ln_1", "ln_2"):
            weights[f"h.{layer}.{name}.gain"], weights[f"h.{layer}.{name}.bias"] = ones(WIDTH), zeros(WIDTH)
    save_file(weights, f"{folder}/weights.safetensors")
    words = re.findall(r"\w+|[^\w\s]", open(arguments.text, encoding="utf-8", errors="replace").read(20_000_000))
    ids = {word: i + 1 for i, (word, _) in enumerate(collections.Counter(words).most_common(TOKENS - 1))}
    stream = numpy.array([ids.get(word, 0) for word in words], "uint32")
    starts = random.integers(0, len(stream) - CONTEXT - 1, arguments.steps * BATCH)
    numpy.stack([stream[start : start + CONTEXT + 1] for start in starts]).tofile(f"{folder}/batches.bin")


def torch_worker(folder):
    import numpy
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file

    torch.set_num_threads(arguments.threads)
    weights = {name: tensor.requires_grad_() for name, tensor in load_file(f"{folder}/weights.safetensors").items()}
    batches = numpy.fromfile(f"{folder}/batches.bin", "uint32").astype("int64").reshape(-1, BATCH, CONTEXT + 1)
    groups = [
        {"params": [w for w in weights.values() if w.dim() >= 2], "weight_decay": 0.01},
        {"params": [w for w in weights.values() if w.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), fused=True)

    def loss_of(batch):
        w = weights
        x = F.embedding(batch[:, :-1], w["wte"]) + w["wpe"]
        for layer in range(LAYERS):
            p = f"h.{layer}."
            y = F.layer_norm(x, (WIDTH,), w[p + "ln_1.gain"], w[p + "ln_1.bias"], 1e-5)
            q, k, v = F.linear(y, w[p + "qkv.weight"], w[p + "qkv.bias"]).split(WIDTH, 2)
            q, k, v = (t.view(BATCH, CONTEXT, HEADS, WIDTH // HEADS).transpose(1, 2) for t in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(BATCH, CONTEXT, WIDTH)
            x = x + F.linear(y, w[p + "out.weight"], w[p + "out.bias"])
            y = F.layer_norm(x, (WIDTH,), w[p + "ln_2.gain"], w[p + "ln_2.bias"], 1e-5)
            y = F.gelu(F.linear(y, w[p + "up.weight"], w[p + "up.bias"]), approximate="tanh")
            x = x + F.linear(y, w[p + "down.weight"], w[p + "down.bias"])
        x = F.layer_norm(x, (WIDTH,), w["ln_f.gain"], w["ln_f.bias"], 1e-5)
        return F.cross_entropy(F.linear(x, w["wte"]).view(-1, TOKENS), batch[:, 1:].reshape(-1))

    if os.path.exists(f"{folder}/gradients.safetensors"):
        loss_of(torch.from_numpy(batches[0])).backward()
        theirs = load_file(f"{folder}/gradients.safetensors")
        worst = max(((theirs[name] - w.grad).norm() / w.grad.norm()).item() for name, w in weights.items())
        print(json.dumps({"worst_gradient": worst, "compared": len(theirs)}))
        return
    for batch in batches:
        wall, cpu = time.perf_counter(), time.process_time()
        loss = loss_of(torch.from_numpy(batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        loss = loss.item()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"loss": loss, "norm": norm.item(), "wall": wall, "cpu": cpu}), flush=True)


def run(command):
    threads = str(arguments.threads)
    environment = dict(os.environ, RAYON_NUM_THREADS=threads, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def main():
    with tempfile.TemporaryDirectory() as folder:
        prepare(folder)
        here = os.path.dirname(os.path.abspath(__file__))
        build = ["cargo", "bench", "--bench", "transformer", "--no-run", "--message-format", "json"]
        built = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True, cwd=here).stdout
        messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
        ours = [m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "transformer"][-1]
        again = ["--worker", "torch", "--folder", folder, "--threads", str(arguments.threads)]
        sides = {
            "wordgrove": [ours, "step", folder],
            "PyTorch": [sys.executable, os.path.abspath(__file__), arguments.text, *again],
        }
        run([ours, "gradients", folder])
        compared = run(sides["PyTorch"])[0]
        os.remove(f"{folder}/gradients.safetensors")
        print(f"gradients of the first batch: {compared['compared']} parameters, largest relative distance {compared['worst_gradient']:.2g}")
        rounds = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, command in sides.items():
                rounds[name].append(run(command))
        worst = max(
            abs(a["loss"] - b["loss"]) for a, b in zip(rounds["wordgrove"][0], rounds["PyTorch"][0], strict=True)
        )
        print(f"losses of {arguments.steps} steps: {rounds['PyTorch'][0][0]['loss']:.5f} to {rounds['PyTorch'][0][-1]['loss']:.5f}, largest difference {worst:.2g}")
        n = BATCH * CONTEXT
        speeds = {}
        for clock in ("wall", "cpu"):
            for name in sides:
                # The first two steps fill caches and pools.
                per_round = [statistics.median(n / step[clock] for step in steps[2:]) for steps in rounds[name]]
                best = max(n / step[clock] for steps in rounds[name] for step in steps[2:])
                speeds[name] = statistics.median(per_round)
                print(f"{name}: {speeds[name]:.0f} tokens per second of {clock} time (rounds {min(per_round):.0f} to {max(per_round):.0f}, best step {best:.0f})")
            print(f"ratio, {clock} time: {speeds['wordgrove'] / speeds['PyTorch']:.2f}")


if arguments.worker:
    torch_worker(arguments.folder)
else:
    main()
