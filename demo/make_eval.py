"""Writes the evaluation prompts: the generators' held-out side, and prompts written by hand in other words.

    python make_eval.py        writes eval/generated.jsonl; eval/handwritten.jsonl is edited by hand
"""
import argparse
import json
import pathlib

from corpus import arithmetic, extract, facts, haiku, memory, mix, smalltalk, story, tools
from corpus.core import Gen

MAKERS = {"haiku": haiku.sample, "arithmetic": arithmetic.sample, "facts": facts.sample, "memory": lambda g: memory.sample(g, mix.filler(g)),
          "extraction": extract.sample, "tool call": tools.sample, "tool answer": tools.sample, "no tool": tools.sample, "story": story.sample,
          "greeting": smalltalk.greeting, "unknown": smalltalk.beyond, "echo": smalltalk.echo, "listing": smalltalk.listing}


def prompts(per_skill):
    for skill, make in MAKERS.items():
        g, made, seen = Gen(f"evaluation of {skill}", heldout=True), 0, set()
        while made < per_skill:
            sample = make(g)
            messages = sample.messages
            if sample.skill != skill or messages[-1]["role"] != "assistant" or str(messages) in seen:
                continue
            seen.add(str(messages))
            system = sample.system or (g.choice(mix.SYSTEMS) if g.chance(0.2) else None)
            if system:
                messages = [{"role": "system", "content": system}] + messages
            made += 1
            record = {"id": f"{skill} {made}", "skill": skill, "messages": messages[:-1]}
            if sample.tools:
                record["tools"] = sample.tools
            yield record | {"check": sample.check}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-skill", type=int, default=40)
    parser.add_argument("--out", default=pathlib.Path(__file__).parent / "eval" / "generated.jsonl")
    args = parser.parse_args()
    with open(args.out, "w") as f:
        for record in prompts(args.per_skill):
            f.write(json.dumps(record, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
