"""Trains the demo model: corpus workers run ahead, one GPU learns, and the weights are saved in bfloat16-safe float32.

    python train.py --minutes 8 --tokenizer build/tokenizer.json --out build/model.pt

On a machine without a GPU it runs too, slowly: add --row-tokens 2048 --steps 20.
"""
import argparse
import queue
import threading
import time

import torch

import data
from model import Config, Model, rope_tables
from muon import Muon

ADAM_LR, MUON_LR = 3e-3, 0.02
WARMUP_STEPS, DECAY_SHARE = 60, 0.55         # the learning rate falls to zero over the last part


def rate(step, progress):
    """Learning rate factor: warm-up, constant, linear decay."""
    return min(1.0, (step + 1) / WARMUP_STEPS, (1 - progress) / DECAY_SHARE)


def prefetch(rows, device, attention, context, depth=24):
    """Rows on the device, prepared by a thread."""
    ready = queue.Queue(depth)

    def work():
        for row in rows:
            ready.put({k: torch.from_numpy(v).pin_memory() if device == "cuda" else torch.from_numpy(v) for k, v in row.items()})
    threading.Thread(target=work, daemon=True).start()
    while True:
        row = {k: v.to(device, non_blocking=True) for k, v in ready.get().items()}
        row["docs"] = documents(row.pop("ends"), len(row["tokens"]), attention, context)
        yield row


def documents(ends, row_tokens, attention, context):
    """What the chosen attention needs to keep the documents apart."""
    if attention == "varlen":
        return ends, context
    ids = torch.searchsorted(ends.long(), torch.arange(row_tokens, device=ends.device), right=True)
    if attention == "dense":
        at = torch.arange(row_tokens, device=ends.device)
        return (ids[:, None] == ids[None]) & (at[:, None] >= at[None])
    from torch.nn.attention.flex_attention import create_block_mask
    return create_block_mask(lambda b, h, q, k: (q >= k) & (ids[q] == ids[k]), None, None, row_tokens, row_tokens, device=ends.device, _compile=True)


def optimizers(model):
    """Muon for the blocks' matrices, Adam for embedding, norms and biases."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is m for m in matrices)]
    fused = rest[0].is_cuda
    return [Muon(matrices, MUON_LR), torch.optim.AdamW(rest, ADAM_LR, betas=(0.9, 0.98), weight_decay=0.0, fused=fused)]


def train(args, device):
    config = Config()
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    model = Model(config).to(device)
    cos, sin = rope_tables(config, device)
    loss_fn = torch.compile(model.loss, dynamic=False) if device == "cuda" else model.loss
    opts = optimizers(model)
    pool, stream = data.shards(args.tokenizer, args.workers, args.first_shard)
    rows = prefetch(data.rows(stream, args.row_tokens, config.context), device, args.attention, config.context)

    step, start, mean, waited = 0, None, None, 0.0
    while True:
        elapsed = time.time() - start if start else 0.0
        progress = step / args.steps if args.steps else elapsed / (args.minutes * 60)
        if progress >= 1:
            break
        for opt, base in zip(opts, (MUON_LR, ADAM_LR)):
            opt.param_groups[0]["lr"] = base * rate(step, progress)
        t = time.time()
        row = next(rows)
        waited += time.time() - t
        at = row.pop("positions")
        with torch.autocast(device, torch.bfloat16):
            loss = loss_fn(**row, cos=cos[at], sin=sin[at], attention=args.attention)
        loss.backward()
        for opt in opts:
            opt.step()
        model.zero_grad(set_to_none=True)
        step += 1
        if step == 3 and device == "cuda":       # compiled by now
            torch.cuda.synchronize()
        if start is None and step >= 3:
            start, first, waited = time.time(), step, 0.0
        if step % args.log_every == 0 or step < 4:
            mean = loss.item() if mean is None else 0.4 * mean + 0.6 * loss.item()
            seconds = time.time() - (start or time.time())
            speed = (step - first) * args.row_tokens / seconds if start and seconds > 0 else 0
            print(f"step {step:6d}  {seconds:6.1f} s  {progress:6.1%}  loss {mean:.4f}  {step * args.row_tokens / 1e6:8.1f}M tokens  "
                  f"{speed / 1e6:.2f}M tokens/s  waited {waited:.1f} s", flush=True)
    pool.terminate()
    print(f"trained on {step * args.row_tokens / 1e6:.0f}M tokens in {step} steps")
    torch.save({"config": vars(config), "weights": {k: v.float().cpu() for k, v in model.state_dict().items()}}, args.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8, help="wall-clock time of the training itself")
    parser.add_argument("--steps", type=int, default=0, help="a number of steps instead")
    parser.add_argument("--row-tokens", type=int, default=65536)
    parser.add_argument("--attention", choices=("varlen", "flex", "dense"), default="varlen" if torch.cuda.is_available() else "dense")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--first-shard", type=int, default=1, help="seed of the first shard of the corpus")
    parser.add_argument("--log-every", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokenizer", default="build/tokenizer.json")
    parser.add_argument("--out", default="build/model.pt")
    train(parser.parse_args(), "cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    main()
