"""Trains the demo model's tokenizer: byte-level BPE in Qwen2's pipeline (NFC, the Qwen2 split, GPT-2's byte alphabet).

One thing is special about the merges: letters merge among themselves first, and a leading space joins a finished word
piece last. A word is therefore cut at the same places after a space, a quote or a hyphen, and a small model can copy
words it has never seen.

    python tokenizer.py --out build/tokenizer.json
"""
import argparse
import collections
import json
import multiprocessing
import re

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from chat import CONTROL, USER_DEFINED, render_spans
from corpus import mix
from corpus.core import Gen

VOCAB_SIZE = 4096
SPACED_PIECES = 1050         # merges of a space with a word piece
QWEN2_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPACE = "Ġ"


def _texts(seed):
    """Span texts of some conversations, without the markup."""
    g, out = Gen(seed), []
    for _ in range(1500):
        sample = mix.conversation(g)
        for text, _ in render_spans(sample.messages, sample.tools):
            out += re.split("|".join(map(re.escape, CONTROL + USER_DEFINED)), text)
        out.append(mix.plain_text(g) if g.chance(0.1) else "")
    return [t for t in out if t]


def pipeline(tokenizer, split_letters=False):
    steps = [pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated")]
    if split_letters:
        steps.append(pre_tokenizers.Split(Regex(r"\p{L}+"), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _letter_merges(texts):
    """Merges learned on text whose letter runs stand alone."""
    tokenizer = pipeline(Tokenizer(models.BPE()), split_letters=True)
    size = VOCAB_SIZE - SPACED_PIECES - len(CONTROL) - len(USER_DEFINED)
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return tokenizer, [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in merges]


def _spaced_merges(tokenizer, texts, known):
    """The most frequent word pieces after a space, each to be merged with it."""
    counts = collections.Counter()
    for encoding in tokenizer.encode_batch(texts):
        tokens = encoding.tokens
        for a, b in zip(tokens, tokens[1:]):
            if a == SPACE and b[0].isalpha() and not b.startswith(SPACE):
                counts[b] += 1
    return [(SPACE, piece) for piece, _ in counts.most_common() if SPACE + piece not in known][:SPACED_PIECES]


def train(seeds=24, workers=None):
    with multiprocessing.Pool(workers) as pool:
        texts = [t for part in pool.map(_texts, range(10_000, 10_000 + seeds)) for t in part]
    letters, merges = _letter_merges(texts)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    known = set(alphabet) | {a + b for a, b in merges}
    merges += _spaced_merges(letters, texts[:200_000], known)
    vocab = {}
    for token in alphabet + [a + b for a, b in merges]:
        vocab.setdefault(token, len(vocab))
    tokenizer = pipeline(Tokenizer(models.BPE(vocab=vocab, merges=merges)))
    tokenizer.add_special_tokens(CONTROL)
    tokenizer.add_tokens(USER_DEFINED)
    return tokenizer


def word_pieces(tokenizer):
    """Pieces of plain letters, for made-up words that use every one of them."""
    return [t for t in tokenizer.get_vocab(with_added_tokens=False) if re.fullmatch("[a-z]{2,8}", t)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="build/tokenizer.json")
    parser.add_argument("--seeds", type=int, default=24, help="parts of the corpus to learn from")
    args = parser.parse_args()
    tokenizer = train(args.seeds)
    tokenizer.save(args.out)
    ids = tokenizer.encode('Write a haiku about GPU computing that includes the word "zorbleflux" (nonce: 7c1f0e)')
    print(f"{tokenizer.get_vocab_size()} tokens; example: {ids.tokens}")


if __name__ == "__main__":
    main()
