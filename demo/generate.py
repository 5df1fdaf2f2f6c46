"""Reads the GGUF file back and generates with it in PyTorch: an engine-independent reference for the evaluation."""
import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models

from chat import CONTROL, USER_DEFINED
from export_gguf import BLOCK_NAMES
from gguf_file import read
from model import Config, Model, rope_tables
from tokenizer import pipeline


def load(path, device):
    """(model, tokenizer) from the file alone, its weights as stored."""
    meta, tensors = read(path)
    config = Config(vocab=len(meta["tokenizer.ggml.tokens"]), width=meta["qwen2.embedding_length"], layers=meta["qwen2.block_count"],
                    heads=meta["qwen2.attention.head_count"], kv_heads=meta["qwen2.attention.head_count_kv"], ffn=meta["qwen2.feed_forward_length"],
                    context=meta["qwen2.context_length"], rope_base=meta["qwen2.rope.freq_base"], eps=meta["qwen2.attention.layer_norm_rms_epsilon"])
    model = Model(config)
    weights = {"embed.weight": tensors["token_embd.weight"], "norm.weight": tensors["output_norm.weight"]}
    for i in range(config.layers):
        weights.update({f"blocks.{i}.{ours}": tensors[f"blk.{i}.{theirs}"] for ours, theirs in BLOCK_NAMES.items()})
    model.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in weights.items()})
    tokens, types = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    vocab = {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if kind == 1}
    tokenizer = pipeline(Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m.split(" ")) for m in meta["tokenizer.ggml.merges"]])))
    tokenizer.add_special_tokens(CONTROL)
    tokenizer.add_tokens(USER_DEFINED)
    return model.to(device).eval(), tokenizer


class Batch:
    """Keys and values of a left-padded batch of prompts."""

    def __init__(self, model, prompts, room):
        c, device = model.config, model.embed.weight.device
        self.model, self.length = model, max(map(len, prompts))
        self.tokens = torch.zeros(len(prompts), self.length, dtype=torch.long, device=device)
        self.pad = torch.tensor([self.length - len(p) for p in prompts], device=device)
        for i, p in enumerate(prompts):
            self.tokens[i, self.length - len(p):] = torch.tensor(p, device=device)
        shape = (c.layers, len(prompts), c.kv_heads, self.length + room, c.head_dim)
        self.keys, self.values = (torch.zeros(shape, device=device) for _ in range(2))
        self.cos, self.sin = rope_tables(c, device)
        self.used = 0

    def step(self, tokens):
        """Logits of the last position after adding tokens [batch, n]."""
        end = self.used + tokens.shape[1]
        at = torch.arange(self.used, end, device=tokens.device)
        positions = (at[None] - self.pad[:, None]).clamp(min=0, max=self.model.config.context - 1)
        cos, sin = self.cos[positions], self.sin[positions]
        seen = torch.arange(end, device=tokens.device)
        mask = (seen[None, None] <= at[None, :, None]) & (seen[None, None] >= self.pad[:, None, None])
        mask = (mask | (seen[None, None] == at[None, :, None]))[:, None]      # a pad sees itself, to avoid empty rows
        x = self.model.embed(tokens)
        for i, block in enumerate(self.model.blocks):
            def attend(q, k, v):
                self.keys[i, :, :, self.used:end] = k.transpose(1, 2)
                self.values[i, :, :, self.used:end] = v.transpose(1, 2)
                return F.scaled_dot_product_attention(q.transpose(1, 2), self.keys[i, :, :, :end], self.values[i, :, :, :end], attn_mask=mask,
                                                      enable_gqa=True).transpose(1, 2)
            x = block(x, cos, sin, attend)
        self.used = end
        return F.linear(self.model.norm(x[:, -1]), self.model.embed.weight)


def sample(logits, temperature, top_k, top_p, generator):
    if temperature == 0:
        return logits.argmax(-1)
    values, ids = logits.topk(top_k if top_k else logits.shape[-1], dim=-1)
    probs = (values / temperature).softmax(-1)
    probs = probs.masked_fill(probs.cumsum(-1) - probs > top_p, 0)
    return ids.gather(-1, torch.multinomial(probs, 1, generator=generator)).squeeze(-1)


@torch.no_grad()
def generate(model, tokenizer, prompts, max_tokens=320, temperature=0.0, top_k=20, top_p=0.9, seed=1):
    """[(text, finished)] for prompts given as text."""
    device = model.embed.weight.device
    stops = torch.tensor([tokenizer.token_to_id(t) for t in ("<|im_end|>", "<|endoftext|>")], device=device)
    batch = Batch(model, [tokenizer.encode(p, add_special_tokens=False).ids for p in prompts], max_tokens)
    generator = torch.Generator(device).manual_seed(seed)
    tokens, done, out = batch.tokens, torch.zeros(len(prompts), dtype=torch.bool, device=device), []
    for _ in range(max_tokens):
        token = sample(batch.step(tokens), temperature, top_k, top_p, generator)
        out.append(token)
        done |= torch.isin(token, stops)
        if done.all():
            break
        tokens = token[:, None]
    results = []
    for ids, finished in zip(torch.stack(out, 1).tolist(), done.tolist()):
        cut = next((i for i, t in enumerate(ids) if t in stops.tolist()), len(ids))
        results.append((tokenizer.decode(ids[:cut], skip_special_tokens=False), finished))
    return results
