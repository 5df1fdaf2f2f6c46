#!/usr/bin/env python3
"""Makes the committed reference of the architecture qwen2moe: a model small enough to be kept here, and what Hugging Face
transformers says of it.

    pip install torch transformers gguf
    tests/golden/make_qwen2moe.py [--out FOLDER] [--seed N]

Writes NAME-f16.gguf, NAME-q8_0.gguf and NAME.goldens.json. Weights are random; tensors get their names, and block formats
their values, from the gguf package. The reference is Qwen2MoeForCausalLM in float64 on the weights as stored (its norms and
softmaxes compute in float32 whatever the weights are).

A token whose last chosen expert barely beats the next one would turn any rounding into another choice, and that into another
answer, so such tokens are left out: at every token of every case, all routers are decided by MIN_ROUTER_MARGIN.
"""
import argparse
import json
import pathlib

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from tokenizers.pre_tokenizers import ByteLevel

NAME = "qwen2moe-8x4"
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BYTES = 256
# CUDA's attention serves heads of 64, 128 and 256; Q8_0 wants widths that are multiples of 32. Else as small as can be.
CONFIG = transformers.Qwen2MoeConfig(
    vocab_size=272,
    hidden_size=32,
    intermediate_size=128,  # of a dense layer; there is none
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=64,
    num_experts=8,
    num_experts_per_tok=4,
    moe_intermediate_size=32,
    shared_expert_intermediate_size=64,
    norm_topk_prob=False,  # as in all models of this architecture: the file has no word for it
    max_position_embeddings=512,
    rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    rms_norm_eps=1e-6,
    attn_implementation="eager",
    experts_implementation="eager",
)
FORMATS = {
    "f16": (Type.F16, gguf.LlamaFileType.MOSTLY_F16, [1, 7, 33, 257]),
    "q8_0": (Type.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0, [1, 33, 257]),
}  # type of the matrices, general.file_type, lengths of the prompts
STEPS, TOP_STEPS, TOP = 16, 2, 20
MIN_ROUTER_MARGIN = 0.05  # logits; they spread by about 1.5
# Standard deviations: of outputs whose inputs' is 1, else of the weights themselves.
OUTPUT_SPREAD = {"mlp.gate.weight": 1.5, "lm_head.weight": 2.0}
SPREAD = {"embed_tokens.weight": 1.0, ".bias": 0.5, "norm.weight": 0.2}


# ---- weights


def of_suffix(table, name):
    return next((value for suffix, value in table.items() if name.endswith(suffix)), None)


def random_weights(rng):
    """{transformers' name: float32 array}"""
    weights = {}
    for name, like in transformers.Qwen2MoeForCausalLM(CONFIG).state_dict().items():
        spread = of_suffix(SPREAD, name) or (of_suffix(OUTPUT_SPREAD, name) or 1.0) / like.shape[-1] ** 0.5
        values = rng.normal(0.0, spread, tuple(like.shape))
        weights[name] = (values + name.endswith("norm.weight")).astype(np.float32)
    return weights


def file_tensors(weights):
    """{name in the file: view of the array}. transformers stacks gate on up, expert by expert; the file has two tensors."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2MOE, CONFIG.num_hidden_layers)
    tensors = {}
    for name, array in weights.items():
        parts = {name: array}
        if name.endswith(".gate_up_proj"):
            gate, up = np.split(array, 2, axis=1)
            parts = {name.replace("gate_up", "gate"): gate, name.replace("gate_up", "up"): up}
        for part, view in parts.items():
            known = names.get_name(part, try_suffixes=(".weight", ".bias"))
            if "shared_expert_gate" in part:
                view = view[0]  # one output: a vector
            tensors[known if known.endswith((".weight", ".bias")) else known + ".weight"] = view
    return tensors


def stored_type(name, view, matrices):
    return Type.F32 if view.ndim == 1 or name.endswith("ffn_gate_inp.weight") else matrices


# ---- file


def add_metadata(writer, variant, file_type):
    c = CONFIG
    writer.add_name(f"{NAME}-{variant}")
    writer.add_file_type(file_type)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_key_length(c.head_dim)
    writer.add_value_length(c.head_dim)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    writer.add_expert_count(c.num_experts)
    writer.add_expert_used_count(c.num_experts_per_tok)
    writer.add_expert_feed_forward_length(c.moe_intermediate_size)
    writer.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)
    # A token a byte and one merge, so that it takes text too.
    tokens = sorted(ByteLevel.alphabet()) + ["ab"] + CONTROL
    kinds = [gguf.TokenType.NORMAL] * (BYTES + 1) + [gguf.TokenType.CONTROL] * len(CONTROL)
    padding = range(len(tokens), c.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens + [f"[PAD{i}]" for i in padding])
    writer.add_token_types(kinds + [gguf.TokenType.UNUSED] * len(padding))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_add_bos_token(False)


def write_model(path, variant, weights):
    """Writes the weights and changes them to what the file holds."""
    matrices, file_type, _ = FORMATS[variant]
    writer = gguf.GGUFWriter(path, "qwen2moe")
    add_metadata(writer, variant, file_type)
    for name, view in file_tensors(weights).items():
        kind = stored_type(name, view, matrices)
        data = gguf.quants.quantize(np.ascontiguousarray(view), kind)
        view[...] = gguf.quants.dequantize(data, kind)
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ---- reference


class Reference:
    def __init__(self, weights):
        self.model = transformers.Qwen2MoeForCausalLM(CONFIG).double().eval()
        self.model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})

    @torch.no_grad()
    def next(self, tokens):
        """Log-probabilities of the token after these, and by how much the last token's experts were chosen."""
        out = self.model(torch.tensor([tokens]), use_cache=False, output_router_logits=True)
        margin = np.inf
        for logits in out.router_logits:
            best = logits[-1].sort(descending=True).values
            margin = min(margin, (best[CONFIG.num_experts_per_tok - 1] - best[CONFIG.num_experts_per_tok]).item())
        return out.logits[0, -1].double().log_softmax(-1), margin

    def decided(self, tokens):
        return self.next(tokens)[1] >= MIN_ROUTER_MARGIN

    def greedy(self, prompt):
        """STEPS steps of greedy decoding, or None where a choice of experts is not decided."""
        tokens, steps = list(prompt), []
        for k in range(STEPS):
            logprobs, margin = self.next(tokens)
            if margin < MIN_ROUTER_MARGIN:
                return None
            best = logprobs.topk(TOP)
            top = [[token, round(value, 6)] for token, value in zip(best.indices.tolist(), best.values.tolist())]
            margin = (best.values[0] - best.values[1]).item()
            steps.append({"token": top[0][0], "logprob": top[0][1], "margin": round(margin, 6),
                          "top": top if k < TOP_STEPS else None})  # fmt: skip
            tokens.append(top[0][0])
        return steps

    def case(self, length, rng):
        """A prompt of that many tokens, one drawn after the other, and its continuation."""
        prompt = []
        while len(prompt) < length - 1:
            token = int(rng.integers(BYTES))
            if self.decided(prompt + [token]):
                prompt.append(token)
        for token in rng.permutation(BYTES).tolist():  # the last one decides what follows
            steps = self.greedy(prompt + [token])
            if steps is not None:
                return {"prompt": prompt + [token], "steps": steps}
        raise SystemExit(f"no prompt of {length} tokens has {STEPS} decided steps: try another --seed")


def write_goldens(path, variants):
    head = {"model": NAME, "arch": "qwen2moe",
            "reference": f"transformers {transformers.__version__}, float64, on the stored weights"}  # fmt: skip
    bodies = []
    for variant, cases in variants.items():
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        bodies.append(f'"{variant}": {{"cases": [\n{lines}]}}')
    path.write_text(json.dumps(head)[:-1] + ',\n"variants": {' + ",\n".join(bodies) + "}}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "data")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    variants = {}
    for variant, (_, _, lengths) in FORMATS.items():
        rng = np.random.default_rng(args.seed)
        weights = random_weights(rng)  # the same for all variants
        write_model(args.out / f"{NAME}-{variant}.gguf", variant, weights)
        reference = Reference(weights)
        variants[variant] = [reference.case(length, rng) for length in lengths]
    write_goldens(args.out / f"{NAME}.goldens.json", variants)


if __name__ == "__main__":
    main()
