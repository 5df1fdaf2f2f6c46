"""The Qwen2 architecture in PyTorch, over one flat row of packed documents (training) or a batch with a cache."""
import inspect
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab: int = 4096
    width: int = 384
    layers: int = 8
    heads: int = 6
    kv_heads: int = 2
    ffn: int = 640
    context: int = 2048
    rope_base: float = 10000.0
    eps: float = 1e-6

    @property
    def head_dim(self):
        return self.width // self.heads


def rope_tables(config, device):
    half = config.head_dim // 2
    freqs = config.rope_base ** (-torch.arange(half, device=device, dtype=torch.float64) / half)
    angles = torch.outer(torch.arange(config.context, device=device, dtype=torch.float64), freqs)
    return angles.cos().float(), angles.sin().float()


def rotate(x, cos, sin):
    """x [..., heads, dim]; the first and second half of a head form the pairs (NeoX)."""
    cos, sin = cos.unsqueeze(-2).to(x.dtype), sin.unsqueeze(-2).to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def varlen_attention(q, k, v, docs):
    """Causal attention inside each document. q [T, heads, dim]; docs: (cumulative lengths, longest length)."""
    from torch.nn.attention.varlen import varlen_attn
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    causal = {"window_size": (-1, 0)} if "window_size" in inspect.signature(varlen_attn).parameters else {"is_causal": True}
    ends, longest = docs
    return varlen_attn(q, k, v, ends, ends, longest, longest, **causal)


def flex_attention(q, k, v, block_mask):
    """The same through FlexAttention; block_mask holds the documents."""
    from torch.nn.attention.flex_attention import flex_attention as flex
    q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))
    return flex(q, k, v, block_mask=block_mask, enable_gqa=True).squeeze(0).transpose(0, 1)


def dense_attention(q, k, v, mask):
    """The same with a full mask, for the CPU."""
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True).transpose(0, 1)


ATTENTION = {"varlen": varlen_attention, "flex": flex_attention, "dense": dense_attention}


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, kv = c.width, c.kv_heads * c.head_dim
        self.attn_norm, self.ffn_norm = nn.RMSNorm(d, c.eps), nn.RMSNorm(d, c.eps)
        self.q, self.k, self.v = nn.Linear(d, d), nn.Linear(d, kv), nn.Linear(d, kv)
        self.o = nn.Linear(d, d, bias=False)
        self.gate, self.up = nn.Linear(d, c.ffn, bias=False), nn.Linear(d, c.ffn, bias=False)
        self.down = nn.Linear(c.ffn, d, bias=False)
        self.head_dim = c.head_dim

    def forward(self, x, cos, sin, attend):
        h = self.attn_norm(x)
        q, k, v = (p(h).unflatten(-1, (-1, self.head_dim)) for p in (self.q, self.k, self.v))
        x = x + self.o(attend(rotate(q, cos, sin), rotate(k, cos, sin), v).flatten(-2))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, config.eps)
        self.reset()

    def reset(self):
        nn.init.normal_(self.embed.weight, std=0.02)
        for b in self.blocks:
            for p in (b.q, b.k, b.v):
                nn.init.normal_(p.weight, std=self.config.width ** -0.5)
                nn.init.zeros_(p.bias)
            for p in (b.gate, b.up):
                nn.init.normal_(p.weight, std=self.config.width ** -0.5)
            for p in (b.o, b.down):          # blocks start as the identity
                nn.init.zeros_(p.weight)

    def forward(self, tokens, cos, sin, docs, attention):
        """Final hidden states of a flat row of documents; cos and sin are gathered per token."""
        attend = ATTENTION[attention]
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, cos, sin, lambda q, k, v: attend(q, k, v, docs))
        return self.norm(x)

    def loss(self, tokens, targets, weights, cos, sin, docs, attention):
        """Weighted cross entropy over the row."""
        hidden = self(tokens, cos, sin, docs, attention)
        logits = F.linear(hidden, self.embed.weight).float()
        losses = F.cross_entropy(logits, targets, reduction="none")
        return (losses * weights).sum() / weights.sum()
