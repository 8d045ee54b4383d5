"""Loads folders that wordgrove saved with Hugging Face transformers, and compares what the two compute.

In: a folder with, for each model NAME, the folder NAME, and in NAME.safetensors ids, masks, hidden vectors and logits as
wordgrove has them, and in NAME.json a text with its ids. Out: a line per model; exit code 0 where all agree, 1 where one
does not, 77 where the packages are missing. `cargo test` calls it with the Python that WORDGROVE_PYTHON names, or python3.
Last run with torch 2.15.0, transformers 5.23.0, model2vec 0.10.0 and sentence-transformers 6.2.0.
"""

import json
import sys
from pathlib import Path

try:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer, BertForMaskedLM, GPT2LMHeadModel, MarianMTModel
except ImportError as error:
    print(f"missing: {error}")
    sys.exit(77)

CLASSES = {"gpt2": GPT2LMHeadModel, "marian": MarianMTModel, "bert": BertForMaskedLM}
# Sums of some dozens of numbers around 1, in 32 bits on both sides, in another order.
CLOSE = 1e-5


def check(what, holds):
    if not holds:
        raise AssertionError(what)


def far(a, b):
    check(f"shapes {tuple(a.shape)} and {tuple(b.shape)}", a.shape == b.shape)
    return (a - b).abs().max().item()


def compare(folder):
    ours = load_file(folder.with_suffix(".safetensors"))
    inputs = {name: ours[name] for name in ("input_ids", "attention_mask", "decoder_input_ids") if name in ours}
    config = json.loads((folder / "config.json").read_text())
    model, report = CLASSES[config["model_type"]].from_pretrained(folder, output_loading_info=True)
    check(f"loading: {report}", not any(report.get(k) for k in ("missing_keys", "unexpected_keys", "mismatched_keys")))
    with torch.no_grad():
        theirs = model.eval()(**inputs, output_hidden_states=True)
    hidden = theirs.decoder_hidden_states if config["model_type"] == "marian" else theirs.hidden_states
    differences = [far(theirs.logits, ours["logits"]), far(hidden[-1], ours["hidden"])]
    if config["model_type"] == "bert":
        # The model alone, for sentence vectors.
        with torch.no_grad():
            alone = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()(**inputs)
        differences.append(far(alone.last_hidden_state, ours["hidden"]))
    if config["model_type"] == "gpt2":
        ids = inputs["input_ids"][:1]
        n = len(ours["written"])
        written = model.generate(ids, min_new_tokens=n, max_new_tokens=n, do_sample=False, pad_token_id=0)
        check(f"generate wrote {written}", written[0, ids.shape[1] :].tolist() == ours["written"].tolist())
    check(f"differences {differences}", max(differences) <= CLOSE)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = json.loads(folder.with_suffix(".json").read_text())
    check("token ids", tokenizer(said["text"], add_special_tokens=False)["input_ids"] == said["ids"])
    if "eos_token" in json.loads((folder / "tokenizer_config.json").read_text()):
        check("special tokens", tokenizer.eos_token_id == config.get("eos_token_id"))
    return max(differences)


def compare_static(folder):
    """A static embedding: the mean of the rows of a text's tokens, of length 1. None where no package could read it."""
    rows = load_file(folder / "model.safetensors")["embeddings"]
    said = json.loads(folder.with_suffix(".json").read_text())
    wanted = torch.nn.functional.normalize(rows[torch.tensor(said["ids"])].mean(0), dim=0)
    found = []
    try:
        from model2vec import StaticModel
        found.append(torch.tensor(StaticModel.from_pretrained(folder).encode([said["text"]])[0]))
    except ImportError:
        print("  model2vec is missing")
    try:
        from sentence_transformers import SentenceTransformer
        found.append(torch.tensor(SentenceTransformer(str(folder), device="cpu").encode([said["text"]])[0]))
    except ImportError:
        print("  sentence-transformers is missing")
    if not found:
        return None
    difference = max(far(x, wanted) for x in found)
    check(f"difference {difference}", difference <= CLOSE)
    return difference


def main():
    folders = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir())
    check("there is something to compare", folders)
    for folder in folders:
        is_static = json.loads((folder / "config.json").read_text())["model_type"] == "model2vec"
        difference = compare_static(folder) if is_static else compare(folder)
        print(f"{folder.name}: {'skipped' if difference is None else f'differs by {difference:.1e} at most'}")


if __name__ == "__main__":
    main()
