"""A training step, and generation, of a small decoder here and in PyTorch: the same weights, the same batches, by turns.

    python tests/benches/transformer_peers.py TEXT [--steps 12] [--rounds 3]

Decoder: 4 layers, 8 heads, d 256, feed-forward 1024 (tanh GELU), context 128, vocabulary 8192, tied head, AdamW, batches
of 8 x 128 tokens. Prints the largest difference of the losses step by step, and tokens per second of wall and of CPU time
as medians over the rounds. Then both go on greedily from 16 tokens until the context is full, token by token with a cache
(PyTorch in a plain loop over tensors allocated once, in inference mode). Both sides get --threads threads (2). The exit code
is 1 where gradients, losses or tokens are not the same: speeds of different work cannot be compared. Needs torch, numpy,
safetensors.
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
parser.add_argument("--worker", choices=["torch", "torch-generate"])
parser.add_argument("--folder")
arguments = parser.parse_args()

PROMPT = 16
LAYERS, HEADS, WIDTH, INNER, CONTEXT, TOKENS, BATCH = 4, 8, 256, 1024, 128, 8192, 8
RATE = 3e-4


def prepare(folder):
    """Writes a GPT-2 folder with its initial spread, and batches.bin (u32, steps x batch x (context + 1))."""
    import numpy
    from safetensors.numpy import save_file

    random = numpy.random.default_rng(1)
    normal = lambda *shape, spread=0.02: (random.standard_normal(shape) * spread).astype("float32")
    weights = {"transformer.wte.weight": normal(TOKENS, WIDTH), "transformer.wpe.weight": normal(CONTEXT, WIDTH)}
    for layer in range(LAYERS):
        at = f"transformer.h.{layer}."
        for name, inputs, outputs in [("attn.c_attn", WIDTH, 3 * WIDTH), ("attn.c_proj", WIDTH, WIDTH), ("mlp.c_fc", WIDTH, INNER), ("mlp.c_proj", INNER, WIDTH)]:
            spread = 0.02 / (2 * LAYERS) ** 0.5 if name.endswith("c_proj") else 0.02
            weights[f"{at}{name}.weight"] = normal(inputs, outputs, spread=spread)
            weights[f"{at}{name}.bias"] = numpy.zeros(outputs, "float32")
    for norm in [f"transformer.h.{layer}.ln_{i}" for layer in range(LAYERS) for i in (1, 2)] + ["transformer.ln_f"]:
        weights[norm + ".weight"], weights[norm + ".bias"] = numpy.ones(WIDTH, "float32"), numpy.zeros(WIDTH, "float32")
    save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": TOKENS, "n_positions": CONTEXT, "n_embd": WIDTH,
        "n_layer": LAYERS, "n_head": HEADS, "n_inner": INNER, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        "resid_pdrop": 0.0, "tie_word_embeddings": True,
    }
    json.dump(config, open(f"{folder}/config.json", "w"))
    words = re.findall(r"\w+|[^\w\s]", open(arguments.text, encoding="utf-8", errors="replace").read(20_000_000))
    ids = {word: i + 1 for i, (word, _) in enumerate(collections.Counter(words).most_common(TOKENS - 1))}
    stream = numpy.array([ids.get(word, 0) for word in words], "uint32")
    starts = random.integers(0, len(stream) - CONTEXT - 1, arguments.steps * BATCH)
    numpy.stack([stream[start : start + CONTEXT + 1] for start in starts]).tofile(f"{folder}/batches.bin")


def torch_weights(folder):
    """Under our names; GPT-2's files hold the weights of linear layers transposed."""
    from safetensors.torch import load_file

    ours = {"transformer.wte": "tokens", "transformer.wpe": "positions", "transformer.ln_f": "decoder.norm", "transformer.h.": "decoder."}
    ours |= {".ln_1": ".attention_norm", ".ln_2": ".feed_forward_norm", ".attn.c_attn": ".attention.qkv", ".attn.c_proj": ".attention.output"}
    ours |= {".mlp.c_fc": ".feed_forward.up", ".mlp.c_proj": ".feed_forward.down"}
    weights = {}
    for name, tensor in load_file(f"{folder}/model.safetensors").items():
        if ".c_" in name and tensor.dim() == 2:
            tensor = tensor.t().contiguous()
        if "ln_" in name:
            name = name.replace("weight", "gain")
        for old, new in ours.items():
            name = name.replace(old, new)
        weights[name] = tensor
    return weights


def torch_worker(folder):
    import numpy
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file

    torch.set_num_threads(arguments.threads)
    weights = {name: tensor.requires_grad_() for name, tensor in torch_weights(folder).items()}
    batches = numpy.fromfile(f"{folder}/batches.bin", "uint32").astype("int64").reshape(-1, BATCH, CONTEXT + 1)
    groups = [
        {"params": [w for w in weights.values() if w.dim() >= 2], "weight_decay": 0.01},
        {"params": [w for w in weights.values() if w.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), fused=True)

    def loss_of(batch):
        w = weights
        x = F.embedding(batch[:, :-1], w["tokens.weight"]) + w["positions.weight"]
        for layer in range(LAYERS):
            p = f"decoder.{layer}."
            y = F.layer_norm(x, (WIDTH,), w[p + "attention_norm.gain"], w[p + "attention_norm.bias"], 1e-5)
            q, k, v = F.linear(y, w[p + "attention.qkv.weight"], w[p + "attention.qkv.bias"]).split(WIDTH, 2)
            q, k, v = (t.view(BATCH, CONTEXT, HEADS, WIDTH // HEADS).transpose(1, 2) for t in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(BATCH, CONTEXT, WIDTH)
            x = x + F.linear(y, w[p + "attention.output.weight"], w[p + "attention.output.bias"])
            y = F.layer_norm(x, (WIDTH,), w[p + "feed_forward_norm.gain"], w[p + "feed_forward_norm.bias"], 1e-5)
            y = F.gelu(F.linear(y, w[p + "feed_forward.up.weight"], w[p + "feed_forward.up.bias"]), approximate="tanh")
            x = x + F.linear(y, w[p + "feed_forward.down.weight"], w[p + "feed_forward.down.bias"])
        x = F.layer_norm(x, (WIDTH,), w["decoder.norm.gain"], w["decoder.norm.bias"], 1e-5)
        return F.cross_entropy(F.linear(x, w["tokens.weight"]).view(-1, TOKENS), batch[:, 1:].reshape(-1))

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


def torch_generate(folder):
    import numpy
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(arguments.threads)
    w = torch_weights(folder)
    batches = numpy.fromfile(f"{folder}/batches.bin", "uint32").astype("int64").reshape(-1, BATCH, CONTEXT + 1)
    keys, values = (torch.empty(LAYERS, 1, HEADS, CONTEXT, WIDTH // HEADS) for _ in range(2))

    def logits(ids, start):
        n, end = len(ids), start + len(ids)
        x = (F.embedding(ids, w["tokens.weight"]) + w["positions.weight"][start:end])[None]
        for layer in range(LAYERS):
            p = f"decoder.{layer}."
            y = F.layer_norm(x, (WIDTH,), w[p + "attention_norm.gain"], w[p + "attention_norm.bias"], 1e-5)
            q, k, v = F.linear(y, w[p + "attention.qkv.weight"], w[p + "attention.qkv.bias"]).split(WIDTH, 2)
            q, k, v = (t.view(1, n, HEADS, WIDTH // HEADS).transpose(1, 2) for t in (q, k, v))
            keys[layer, :, :, start:end], values[layer, :, :, start:end] = k, v
            y = F.scaled_dot_product_attention(q, keys[layer, :, :, :end], values[layer, :, :, :end], is_causal=n > 1)
            y = y.transpose(1, 2).reshape(1, n, WIDTH)
            x = x + F.linear(y, w[p + "attention.output.weight"], w[p + "attention.output.bias"])
            y = F.layer_norm(x, (WIDTH,), w[p + "feed_forward_norm.gain"], w[p + "feed_forward_norm.bias"], 1e-5)
            y = F.gelu(F.linear(y, w[p + "feed_forward.up.weight"], w[p + "feed_forward.up.bias"]), approximate="tanh")
            x = x + F.linear(y, w[p + "feed_forward.down.weight"], w[p + "feed_forward.down.bias"])
        x = F.layer_norm(x[:, -1], (WIDTH,), w["decoder.norm.gain"], w["decoder.norm.bias"], 1e-5)
        return F.linear(x, w["tokens.weight"])

    with torch.inference_mode():
        for batch in batches:
            ids = [logits(torch.from_numpy(batch[0, :PROMPT].copy()), 0).argmax(-1)]
            wall, cpu = time.perf_counter(), time.process_time()
            for at in range(PROMPT, CONTEXT - 1):
                ids.append(logits(ids[-1], at).argmax(-1))
            ids = torch.cat(ids).tolist()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(json.dumps({"ids": ids, "n": len(ids) - 1, "wall": wall, "cpu": cpu}), flush=True)


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
        # Sums of 32 bits in another order; the losses drift apart with every step.
        check("the gradients", compared["worst_gradient"] < 1e-5)
        check("the losses", worst < 1e-3)
        n = BATCH * CONTEXT
        compare(rounds, "tokens trained on", lambda step, clock: n / step[clock])

        again[1] = "torch-generate"
        sides = {"wordgrove": [ours, "generate", folder], "PyTorch": [sys.executable, os.path.abspath(__file__), arguments.text, *again]}
        rounds = {name: [] for name in sides}
        for _ in range(arguments.rounds):
            for name, command in sides.items():
                rounds[name].append(run(command))
        texts = {name: [text["ids"] for text in of[0]] for name, of in rounds.items()}
        same = sum(a == b for a, b in zip(texts["wordgrove"], texts["PyTorch"], strict=True))
        print(f"greedy texts of {len(texts['PyTorch'][0])} tokens: {same} of {len(texts['PyTorch'])} are the same")
        check("the texts", same == len(texts["PyTorch"]))
        compare(rounds, "tokens written", lambda text, clock: text["n"] / text[clock])


def check(what, are_the_same):
    if not are_the_same:
        sys.exit(f"{what} are not the same on both sides")


def compare(rounds, what, speed):
    for clock in ("wall", "cpu"):
        speeds = {}
        for name, of in rounds.items():
            # The first two fill caches and pools.
            per_round = [statistics.median(speed(step, clock) for step in steps[2:]) for steps in of]
            best = max(speed(step, clock) for steps in of for step in steps[2:])
            speeds[name] = statistics.median(per_round)
            print(f"{name}: {speeds[name]:.0f} {what} per second of {clock} time (rounds {min(per_round):.0f} to {max(per_round):.0f}, best {best:.0f})")
        print(f"ratio, {clock} time: {speeds['wordgrove'] / speeds['PyTorch']:.2f}")


if arguments.worker == "torch":
    torch_worker(arguments.folder)
elif arguments.worker == "torch-generate":
    torch_generate(arguments.folder)
else:
    main()
