"""Writes the trained model, its tokenizer and its chat template as one GGUF file.

    python export_gguf.py --model build/model.pt --tokenizer build/tokenizer.json --out qwend-demo.gguf
"""
import argparse
import json
import os

import torch

from chat import CONTROL, TEMPLATE_FILE, USER_DEFINED
from gguf_file import ARRAY, BOOL, FLOAT, I32, STRING, U32, write

NORMAL_TYPE, CONTROL_TYPE, USER_DEFINED_TYPE = 1, 3, 4
SAMPLING = {"temp": 0.3, "top_p": 0.9, "top_k": 20}
# our name -> GGUF name, inside a block
BLOCK_NAMES = {"attn_norm.weight": "attn_norm.weight", "q.weight": "attn_q.weight", "q.bias": "attn_q.bias", "k.weight": "attn_k.weight",
               "k.bias": "attn_k.bias", "v.weight": "attn_v.weight", "v.bias": "attn_v.bias", "o.weight": "attn_output.weight",
               "ffn_norm.weight": "ffn_norm.weight", "gate.weight": "ffn_gate.weight", "up.weight": "ffn_up.weight", "down.weight": "ffn_down.weight"}


def tokenizer_metadata(path):
    with open(path) as f:
        saved = json.load(f)
    vocab = dict(saved["model"]["vocab"])
    vocab.update({t["content"]: t["id"] for t in saved["added_tokens"]})
    tokens = sorted(vocab, key=vocab.get)
    assert [vocab[t] for t in tokens] == list(range(len(tokens))), "token ids have gaps"
    types = [CONTROL_TYPE if t in CONTROL else USER_DEFINED_TYPE if t in USER_DEFINED else NORMAL_TYPE for t in tokens]
    merges = [m if isinstance(m, str) else " ".join(m) for m in saved["model"]["merges"]]
    return [
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "qwen2"),
        ("tokenizer.ggml.tokens", (ARRAY, STRING), tokens),
        ("tokenizer.ggml.token_type", (ARRAY, I32), types),
        ("tokenizer.ggml.merges", (ARRAY, STRING), merges),
        ("tokenizer.ggml.bos_token_id", U32, vocab["<|endoftext|>"]),
        ("tokenizer.ggml.eos_token_id", U32, vocab["<|im_end|>"]),
        ("tokenizer.ggml.padding_token_id", U32, vocab["<|endoftext|>"]),
        ("tokenizer.ggml.add_bos_token", BOOL, False),
        ("tokenizer.chat_template", STRING, TEMPLATE_FILE.read_text()),
    ]


def model_metadata(c):
    return [
        ("general.architecture", STRING, "qwen2"),
        ("general.type", STRING, "model"),
        ("general.name", STRING, "qwend demo"),
        ("general.description", STRING, "A small model trained from scratch by the qwend project on its own generated texts."),
        ("general.size_label", STRING, "11M"),
        ("general.license", STRING, "apache-2.0"),
        ("general.file_type", U32, 7),
        ("general.quantization_version", U32, 2),
        ("general.sampling.temp", FLOAT, SAMPLING["temp"]),
        ("general.sampling.top_p", FLOAT, SAMPLING["top_p"]),
        ("general.sampling.top_k", I32, SAMPLING["top_k"]),
        ("qwen2.block_count", U32, c["layers"]),
        ("qwen2.context_length", U32, c["context"]),
        ("qwen2.embedding_length", U32, c["width"]),
        ("qwen2.feed_forward_length", U32, c["ffn"]),
        ("qwen2.attention.head_count", U32, c["heads"]),
        ("qwen2.attention.head_count_kv", U32, c["kv_heads"]),
        ("qwen2.attention.layer_norm_rms_epsilon", FLOAT, c["eps"]),
        ("qwen2.rope.freq_base", FLOAT, c["rope_base"]),
    ]


def tensors(config, weights):
    out = [("token_embd.weight", weights["embed.weight"].numpy())]
    for i in range(config["layers"]):
        out += [(f"blk.{i}.{theirs}", weights[f"blocks.{i}.{ours}"].numpy()) for ours, theirs in BLOCK_NAMES.items()]
    return out + [("output_norm.weight", weights["norm.weight"].numpy())]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="build/model.pt")
    parser.add_argument("--tokenizer", default="build/tokenizer.json")
    parser.add_argument("--out", default="qwend-demo.gguf")
    args = parser.parse_args()
    saved = torch.load(args.model, weights_only=True)
    write(args.out, model_metadata(saved["config"]) + tokenizer_metadata(args.tokenizer), tensors(saved["config"], saved["weights"]))
    count = sum(w.numel() for w in saved["weights"].values())
    print(f"{args.out}: {count / 1e6:.2f}M parameters, {os.path.getsize(args.out) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
