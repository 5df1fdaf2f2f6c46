"""Turns generated conversations into packed training rows, in worker processes that run ahead of the training."""
import collections
import multiprocessing

import numpy as np

from chat import render_spans
from corpus import haiku, mix
from corpus.core import Gen

SHARD_TOKENS = 1_000_000
PLAIN_SHARE = 0.03           # documents that are no chat
PROMPT_WEIGHT = 0.1          # the loss weight of what the model does not say itself
_state = {}


def start_worker(tokenizer_file):
    from tokenizers import Tokenizer
    from tokenizer import word_pieces
    _state["tokenizer"] = Tokenizer.from_file(tokenizer_file)
    _state["pieces"] = word_pieces(_state["tokenizer"])


def _documents(g):
    while True:
        if g.chance(PLAIN_SHARE):
            yield [(mix.plain_text(g) + "<|endoftext|>", True)]
        else:
            sample = mix.conversation(g)
            yield render_spans(sample.messages, sample.tools)


def make_shard(seed, context=2048, target=SHARD_TOKENS):
    """(tokens, learned flags, document lengths) of about `target` tokens."""
    g, tokenizer = Gen(seed, pieces=_state["pieces"]), _state["tokenizer"]
    tokens, learned, lengths, total = [], [], [], 0
    documents = _documents(g)
    while total < target:
        spans = [next(documents) for _ in range(64)]
        encodings = iter(tokenizer.encode_batch([text for doc in spans for text, _ in doc], add_special_tokens=False))
        for doc in spans:
            ids, flags = [], []
            for _, flag in doc:
                span_ids = next(encodings).ids
                ids += span_ids
                flags += [flag] * len(span_ids)
            ids, flags = ids[:context], flags[:context]
            tokens.append(np.array(ids, np.uint16))
            learned.append(np.array(flags, bool))
            lengths.append(len(ids))
            total += len(ids)
    return np.concatenate(tokens), np.concatenate(learned), np.array(lengths, np.int32)


def shards(tokenizer_file, workers, first_seed=1, count=4000):
    """Shards in a fixed order, made a little ahead of their use.

    Only a little: receiving them takes the time of the training process, which has a GPU to keep busy.
    """
    haiku.banks()                                    # built once, then shared with the forked workers
    pool = multiprocessing.get_context("fork").Pool(workers, start_worker, (tokenizer_file,))

    def stream():
        ahead = collections.deque()
        for seed in range(first_seed, first_seed + count):
            ahead.append(pool.apply_async(make_shard, (seed,)))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().get()
    return pool, stream()


def rows(shard_stream, row_tokens, context):
    """Packs whole documents into rows: dict of tokens, targets, weights, positions, cumulative document lengths.

    The number of document slots is fixed (unused ones are empty), so that shapes never change.
    """
    slots = row_tokens // 64
    pending, used = [], 0
    for tokens, learned, lengths in shard_stream:
        starts = np.concatenate(([0], np.cumsum(lengths)))
        for i in range(len(lengths)):
            n = int(lengths[i])
            if used + n > row_tokens or len(pending) == slots - 1:
                yield _pack(pending, row_tokens, slots)
                pending, used = [], 0
            pending.append((tokens[starts[i]:starts[i + 1]], learned[starts[i]:starts[i + 1]]))
            used += n


def _pack(documents, row_tokens, slots):
    tokens, targets = np.zeros(row_tokens, np.int64), np.zeros(row_tokens, np.int64)
    weights, positions = np.zeros(row_tokens, np.float32), np.zeros(row_tokens, np.int64)
    ends, at = np.full(slots + 1, row_tokens, np.int32), 0
    ends[0] = 0
    for i, (ids, flags) in enumerate(documents):
        n = len(ids)
        tokens[at:at + n] = ids
        targets[at:at + n - 1] = ids[1:]
        weights[at:at + n - 1] = np.where(flags[1:], 1.0, PROMPT_WEIGHT)
        positions[at:at + n] = np.arange(n)
        at += n
        ends[i + 1] = at
    return {"tokens": tokens, "targets": targets, "weights": weights, "positions": positions, "ends": ends}
