"""Our tokenizer and those of other people, side by side: CPU seconds, medians of several rounds.

    pip install tokenizers==0.23.3 tiktoken==0.14.0 gigatoken==0.10.0 fastokens==0.3.5
    cargo build --release --bench tokens
    python tokens_peers.py target/release/deps/tokens-HASH TEXT VOCAB_SIZE [ROUNDS]

Every measurement is a process of its own, on one thread, on the same text in documents of 8 KB; the rounds take turns,
so that a busy machine is busy for all. Pass 1 is what a new text costs, pass 2 and 3 what a known one costs.

The merges of Hugging Face are compared with ours one by one, and everybody's ids by their number and a hash. The script
fails where any of them differ, or a tool does.
"""

import array
import hashlib
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ONE_THREAD = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


def documents(path):
    text, result, start = open(path, "rb").read(), [], 0
    while start < len(text):
        end = min(start + 8192, len(text))
        while end < len(text) and text[end] & 0xC0 == 0x80:
            end += 1
        result.append(text[start:end].decode())
        start = end
    return result


def train(name, text, size, out):
    """CPU seconds and peak MiB of learning; what Python itself takes is subtracted from neither."""
    start = time.process_time()
    if name == "hf":
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        # As ours: what occurs once teaches nothing.
        trainer = trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train([text], trainer)
    elif name == "gigatoken":
        import gigatoken

        gigatoken.train_bpe(gigatoken.TextFileSource([text]), size, [])
    result = {"learn": time.process_time() - start, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    if name == "hf":
        result["merges"] = hash_of_merges(tokenizer.to_str())
        if out:
            tokenizer.save(out)
    print(json.dumps(result))


def merges_of(tokenizer_json):
    merges = json.loads(tokenizer_json)["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def hash_of_merges(tokenizer_json):
    return hashlib.sha256("\n".join(merges_of(tokenizer_json)).encode()).hexdigest()


def hash_of_ids(encoded):
    """Of each document's number of ids and the ids, as 32-bit numbers with the lowest byte first."""
    hashed = hashlib.sha256()
    for ids in encoded:
        numbers = array.array("I", [len(ids), *ids])
        if sys.byteorder == "big":
            numbers.byteswap()
        hashed.update(numbers.tobytes())
    return hashed.hexdigest()


def encode(name, text, tokenizer_json, _):
    texts = documents(text)
    if name == "hf":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(tokenizer_json)
        run = lambda document: tokenizer.encode(document, add_special_tokens=False).ids
        back = lambda ids: tokenizer.decode(ids)
    elif name == "fastokens":
        import fastokens

        tokenizer = fastokens.Tokenizer.from_file(tokenizer_json)
        # The quickest way out: the ids of a list of texts as bytes, without an object for each token.
        run = lambda document: memoryview(tokenizer.encode_batch_flat([document])[0]).cast("I")
        back = lambda ids: tokenizer.decode(list(ids))
    elif name == "gigatoken":
        import gigatoken

        tokenizer = gigatoken.Tokenizer(tokenizer_json)
        run, back = tokenizer.encode, tokenizer.decode
    elif name == "tiktoken":
        import tiktoken

        vocab = json.load(open(tokenizer_json))["model"]["vocab"]
        from_character = {character: byte for byte, character in byte_characters().items()}
        ranks = {bytes(from_character[c] for c in token): rank for token, rank in vocab.items()}
        pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
        tokenizer = tiktoken.Encoding("own", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        run, back = tokenizer.encode_ordinary, tokenizer.decode
    passes = []
    for _ in range(1 if name == "hf" else 3):
        start = time.process_time()
        encoded = [run(document) for document in texts]
        passes.append(time.process_time() - start)
    start = time.process_time()
    for ids in encoded:
        back(ids)
    decode = time.process_time() - start
    n_ids = sum(len(ids) for ids in encoded)
    print(json.dumps({"passes": passes, "decode": decode, "ids": n_ids, "hash": hash_of_ids(encoded)}))


def byte_characters():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def ours(bench, text, size, out):
    output = subprocess.run(
        [bench, text, str(size), out], env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True
    ).stdout
    cpu = lambda what: [float(x) for x in re.findall(what + r"[^:]*: ([0-9.]+) s CPU", output)]
    return {
        "learn": cpu("learn")[0],
        "mib": int(re.search(r"learning: (\d+)", output)[1]),
        "passes": cpu("encode documents"),
        "decode": cpu("decode")[0],
        "ids": int(re.search(r"(\d+) ids", output)[1]),
        "hash": re.search(r"sha256 (\w+)", output)[1],
        "merges": hash_of_merges(open(out, encoding="utf8").read()),
    }


def main(bench, text, size, rounds=3):
    megabytes = os.path.getsize(text) / 1e6
    folder = tempfile.mkdtemp()
    out, hf_json = os.path.join(folder, "tokenizer.json"), os.path.join(folder, "hf.json")
    runs = {}

    failed = []

    def peer(job, name, *arguments):
        command = [sys.executable, __file__, job, name, *map(str, arguments)]
        done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True)
        if done.returncode:
            failed.append(f"{job} {name}: {done.stderr.strip().splitlines()[-1:]}")
        else:
            runs.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))

    for _ in range(int(rounds)):
        runs.setdefault("wordgrove", []).append(ours(bench, text, size, out))
        for name in ["hf", "gigatoken"]:
            peer("train", name, text, size, hf_json if name == "hf" else "")
        for name in ["gigatoken", "fastokens", "tiktoken", "hf"]:
            peer("encode", name, text, out, 0)
    print(f"{text}: {megabytes:.1f} MB, {size} tokens, medians of {rounds} rounds, CPU seconds on one thread")
    for name, results in runs.items():
        median = lambda get: statistics.median([get(r) for r in results if get(r) is not None] or [float("nan")])
        learn, mib = median(lambda r: r.get("learn")), median(lambda r: r.get("mib"))
        first = median(lambda r: r.get("passes", [None])[0])
        known = median(lambda r: min(r["passes"][1:]) if len(r.get("passes", [])) > 1 else None)
        decode, ids = median(lambda r: r.get("decode")), median(lambda r: r.get("ids"))
        print(
            f"{name:10} learn {learn:6.2f} s {mib:5.0f} MiB | encode first {first:6.3f} s {megabytes / first:5.0f} MB/s, "
            f"known {known:6.3f} s {megabytes / known:5.0f} MB/s | decode {decode:6.3f} s {megabytes / decode:5.0f} MB/s | "
            f"{ids:.0f} ids"
        )
    own = runs["wordgrove"][0]
    for name, results in runs.items():
        for what in ["hash", "merges"]:
            if any(result.get(what, own[what]) != own[what] for result in results):
                failed.append(f"{name}: its {'ids' if what == 'hash' else what} are not ours")
    if any(result.get("merges", own["merges"]) != own["merges"] for result in runs.get("hf", [])):
        ours_, theirs = (merges_of(open(path, encoding="utf8").read()) for path in [out, hf_json])
        first = next((i for i, (a, b) in enumerate(zip(ours_, theirs)) if a != b), min(len(ours_), len(theirs)))
        failed.append(f"merge {first} is the first that differs; ours are {len(ours_)}, theirs {len(theirs)}")
    shutil.rmtree(folder)
    if failed:
        sys.exit("\n".join(dict.fromkeys(failed)))
    print("the merges of hf and everybody's ids are ours")


if __name__ == "__main__":
    if sys.argv[1] in ("train", "encode"):
        job = {"train": train, "encode": encode}[sys.argv[1]]
        job(sys.argv[2], sys.argv[3], int(sys.argv[4]) if sys.argv[1] == "train" else sys.argv[4], sys.argv[5])
    else:
        main(*sys.argv[1:])
