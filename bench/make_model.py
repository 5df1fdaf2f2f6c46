#!/usr/bin/env python3
"""Write a GGUF file of a Qwen model's exact shapes with random weights.

Such a file loads, runs and times exactly like the real one; its text is noise. Shapes and the rule that gives each
tensor its block format are those of the published models and of llama.cpp's quantiser (Q4_K_M keeps some layers'
attn_v and ffn_down in Q6_K, and a width that is not a multiple of 256 falls back to a 32-element format).

    python3 bench/make_model.py qwen2.5-0.5b q8_0 out.gguf [--layers N] [--seed N]

Needs numpy. A 15 GB file takes as long as the disk takes to write it: several threads copy random stretches of a pool.
"""
import argparse
import concurrent.futures
import os
import struct
import sys
import time

import numpy as np

# name: (arch, layers, D, heads, kv heads, head dim, F, V, tied, context, rope base)
DENSE = {
    "qwen2.5-0.5b": ("qwen2", 24, 896, 14, 2, 64, 4864, 151936, True, 32768, 1e6),
    "qwen2.5-1.5b": ("qwen2", 28, 1536, 12, 2, 128, 8960, 151936, True, 32768, 1e6),
    "qwen2.5-3b": ("qwen2", 36, 2048, 16, 2, 128, 11008, 151936, True, 32768, 1e6),
    "qwen2.5-7b": ("qwen2", 28, 3584, 28, 4, 128, 18944, 152064, False, 32768, 1e6),
    "qwen2.5-14b": ("qwen2", 48, 5120, 40, 8, 128, 13824, 152064, False, 32768, 1e6),
    "qwen3-0.6b": ("qwen3", 28, 1024, 16, 8, 128, 3072, 151936, True, 40960, 1e6),
    "qwen3-1.7b": ("qwen3", 28, 2048, 16, 8, 128, 6144, 151936, True, 40960, 1e6),
    "qwen3-4b": ("qwen3", 36, 2560, 32, 8, 128, 9728, 151936, True, 40960, 1e6),
    "qwen3-8b": ("qwen3", 36, 4096, 32, 8, 128, 12288, 151936, False, 40960, 1e6),
}

# name: (gguf id, elements a block, bytes a block, byte offsets of the fp16 scales)
FORMATS = {
    "f32": (0, 1, 4, ()), "f16": (1, 1, 2, ()), "q4_0": (2, 32, 18, (0,)), "q4_1": (3, 32, 20, (0, 2)),
    "q5_0": (6, 32, 22, (0,)), "q5_1": (7, 32, 24, (0, 2)), "q8_0": (8, 32, 34, (0,)),
    "q4_k": (12, 256, 144, (0, 2)), "q5_k": (13, 256, 176, (0, 2)), "q6_k": (14, 256, 210, (208,)),
}
# Typical magnitude of a block's decoded integer (scale included) so that weights come out near +-0.02.
SCALE = {"q4_0": 3e-3, "q4_1": 2e-3, "q5_0": 1.5e-3, "q5_1": 1e-3, "q8_0": 2e-4, "q4_k": 5e-5, "q5_k": 2.5e-5, "q6_k": 1e-5}
FALLBACK = {"q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0"}
FILE_TYPE = {"f16": 1, "q4_0": 2, "q8_0": 7, "q4_k_m": 15, "q5_k_m": 17, "q6_k": 18}
FIRST_CONTROL = 151643
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
           "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
           "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"]
CHATML = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def use_more_bits(i, n):
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def format_of(tensor, mix, layer, layers, width):
    """Block format of one matrix; width is its ne0."""
    if mix in ("f16", "q8_0", "q4_0"):
        return mix
    base = {"q4_k_m": "q4_k", "q5_k_m": "q5_k", "q6_k": "q6_k"}[mix]
    if tensor == "lm_head":
        base = "q6_k"
    elif tensor in ("attn_v", "ffn_down") and mix != "q6_k" and use_more_bits(layer, layers):
        base = "q6_k"
    return base if width % 256 == 0 else FALLBACK[base]


def byte_alphabet():
    """GPT-2's printable stand-in for each byte."""
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, extra = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + extra)
            extra += 1
    return [table[b] for b in sorted(table)]


def vocabulary(size, rng):
    """Tokens, types and merges: each merge joins two earlier tokens, so the BPE is a sound one."""
    tokens = byte_alphabet()
    seen, merges = set(tokens), []
    letters = [tokens[ord(c)] for c in "abcdefghijklmnopqrstuvwxyz"] + [tokens[32]]
    pool = list(letters)
    while len(tokens) < FIRST_CONTROL:
        left, right = pool[rng.integers(len(pool))], letters[rng.integers(26)]
        if len(left) > 12 or left + right in seen:
            continue
        merges.append(f"{left} {right}")
        tokens.append(left + right)
        pool.append(left + right)
        seen.add(left + right)
    tokens += CONTROL
    types = [1] * FIRST_CONTROL + [4 if "tool_call" in t else 3 for t in CONTROL]
    pads = size - len(tokens)
    return tokens + [f"[PAD{i}]" for i in range(pads)], types + [5] * pads, merges


class Writer:
    def __init__(self, path):
        self.path, self.kv, self.tensors = path, [], []

    @staticmethod
    def string(s):
        raw = s.encode()
        return struct.pack("<Q", len(raw)) + raw

    def add(self, key, kind, value):
        pack = {"u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?")}
        head = self.string(key)
        if kind == "str":
            body = struct.pack("<I", 8) + self.string(value)
        elif kind == "strs":
            body = struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(self.string, value))
        elif kind == "i32s":
            body = struct.pack("<IIQ", 9, 5, len(value)) + np.asarray(value, "<i4").tobytes()
        else:
            code, fmt = pack[kind]
            body = struct.pack("<I", code) + struct.pack(fmt, value)
        self.kv.append(head + body)

    def tensor(self, name, fmt, shape):
        _, block, size, _ = FORMATS[fmt]
        self.tensors.append((name, fmt, shape, int(np.prod(shape)) // block * size))

    def write(self, pool):
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.kv)) + b"".join(self.kv)
        offsets, end = [], 0
        for name, fmt, shape, size in self.tensors:
            head += self.string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
            head += struct.pack("<IQ", FORMATS[fmt][0], end)
            offsets.append(end)
            end += size + (-size) % 32
        head += b"\0" * (-len(head) % 32)
        started = time.time()
        with open(self.path, "wb") as out:
            out.write(head)
            out.truncate(len(head) + end)  # zeros between the tensors
            out.flush()
            with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
                # Drawn here, in order: the file depends on the seed alone.
                jobs = [threads.submit(write_at, out.fileno(), len(head) + at, pool.pieces(name, fmt, size))
                        for (name, fmt, _, size), at in zip(self.tensors, offsets)]
                written = 0
                for job in jobs:
                    written += job.result()
                    if sys.stderr.isatty():
                        print(f"\r{self.path}: {written / 1e9:6.2f} of {end / 1e9:.2f} GB", end="", file=sys.stderr)
        print(f"\r{self.path}: {end / 1e9:.2f} GB in {time.time() - started:.1f} s", file=sys.stderr)


def write_at(descriptor, offset, pieces):
    start = offset
    for piece in pieces:
        view = memoryview(piece)
        while view:
            done = os.pwrite(descriptor, view, offset)
            view, offset = view[done:], offset + done
    return offset - start


class RandomPool:
    """A few MB of random blocks a format, written over and over from random places: as fast as the disk. One thread."""
    BLOCKS = 1 << 15

    def __init__(self, rng):
        self.rng, self.pools = rng, {}

    def pool(self, fmt):
        if fmt not in self.pools:
            _, _, size, scales = FORMATS[fmt]
            if fmt == "f16":
                data = self.rng.normal(0, 0.02, 1 << 22).astype("<f2").view(np.uint8)
            else:
                blocks = self.rng.integers(0, 256, (self.BLOCKS, size), dtype=np.uint8)
                for at in scales:
                    sign = self.rng.choice([-1.0, 1.0], self.BLOCKS)
                    d = sign * SCALE[fmt] * self.rng.uniform(0.5, 1.5, self.BLOCKS)
                    blocks[:, at:at + 2] = d.astype("<f2").view(np.uint8).reshape(-1, 2)
                data = blocks.reshape(-1)
            self.pools[fmt] = data
        return self.pools[fmt]

    def pieces(self, name, fmt, size):
        """Arrays of bytes that make up a tensor."""
        if fmt == "f32":
            n = size // 4
            values = self.rng.normal(0, 0.1, n) if name.endswith("bias") else self.rng.uniform(0.8, 1.2, n)
            return [values.astype("<f4").view(np.uint8)]
        data, unit = self.pool(fmt), FORMATS[fmt][2]
        pieces = []
        while size > 0:
            start = int(self.rng.integers(data.size // unit // 2)) * unit
            pieces.append(data[start:start + min(size, data.size - start)])
            size -= pieces[-1].size
        return pieces


def build(model, mix, path, layers, seed):
    arch, n_layers, d, heads, kv_heads, hd, ffn, vocab, tied, context, base = DENSE[model]
    n_layers = layers or n_layers
    rng = np.random.default_rng(seed)
    w = Writer(path)
    w.add("general.architecture", "str", arch)
    w.add("general.name", "str", f"{model} random weights")
    w.add("general.quantization_version", "u32", 2)
    w.add("general.file_type", "u32", FILE_TYPE[mix])
    for key, value in (("block_count", n_layers), ("context_length", context), ("embedding_length", d),
                       ("feed_forward_length", ffn), ("attention.head_count", heads),
                       ("attention.head_count_kv", kv_heads), ("attention.key_length", hd),
                       ("attention.value_length", hd)):
        w.add(f"{arch}.{key}", "u32", value)
    w.add(f"{arch}.attention.layer_norm_rms_epsilon", "f32", 1e-6)
    w.add(f"{arch}.rope.freq_base", "f32", base)
    tokens, types, merges = vocabulary(vocab, rng)
    w.add("tokenizer.ggml.model", "str", "gpt2")
    w.add("tokenizer.ggml.pre", "str", "qwen2")
    w.add("tokenizer.ggml.tokens", "strs", tokens)
    w.add("tokenizer.ggml.token_type", "i32s", types)
    w.add("tokenizer.ggml.merges", "strs", merges)
    w.add("tokenizer.ggml.eos_token_id", "u32", FIRST_CONTROL + 2)
    w.add("tokenizer.ggml.padding_token_id", "u32", FIRST_CONTROL)
    w.add("tokenizer.ggml.bos_token_id", "u32", FIRST_CONTROL)
    w.add("tokenizer.ggml.add_bos_token", "bool", False)
    w.add("tokenizer.chat_template", "str", CHATML)

    def matrix(name, kind, ne0, ne1, layer=0):
        w.tensor(name, format_of(kind, mix, layer, n_layers, ne0), (ne0, ne1))

    matrix("token_embd.weight", "lm_head" if tied else "token_embd", d, vocab)
    for i in range(n_layers):
        p = f"blk.{i}."
        w.tensor(p + "attn_norm.weight", "f32", (d,))
        matrix(p + "attn_q.weight", "attn_q", d, heads * hd, i)
        matrix(p + "attn_k.weight", "attn_k", d, kv_heads * hd, i)
        matrix(p + "attn_v.weight", "attn_v", d, kv_heads * hd, i)
        if arch == "qwen2":
            for part, rows in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
                w.tensor(p + f"attn_{part}.bias", "f32", (rows * hd,))
        else:
            w.tensor(p + "attn_q_norm.weight", "f32", (hd,))
            w.tensor(p + "attn_k_norm.weight", "f32", (hd,))
        matrix(p + "attn_output.weight", "attn_output", heads * hd, d, i)
        w.tensor(p + "ffn_norm.weight", "f32", (d,))
        matrix(p + "ffn_gate.weight", "ffn_gate", d, ffn, i)
        matrix(p + "ffn_up.weight", "ffn_up", d, ffn, i)
        matrix(p + "ffn_down.weight", "ffn_down", ffn, d, i)
    w.tensor("output_norm.weight", "f32", (d,))
    if not tied:
        matrix("output.weight", "lm_head", d, vocab)
    w.write(RandomPool(rng))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", choices=sorted(DENSE))
    parser.add_argument("format", choices=sorted(FILE_TYPE))
    parser.add_argument("path")
    parser.add_argument("--layers", type=int, help="fewer layers than the real model")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    build(a.model, a.format, a.path, a.layers, a.seed)


if __name__ == "__main__":
    main()
