"""Asks the evaluation prompts and checks the answers, skill by skill.

    python eval.py --url http://127.0.0.1:8080/v1                    any OpenAI-compatible server
    python eval.py --torch qwend-demo.gguf --temperature 0           the GGUF file in PyTorch, without a server
"""
import argparse
import collections
import concurrent.futures
import copy
import json
import pathlib
import urllib.request

import checks

HERE = pathlib.Path(__file__).parent
MAX_TOKENS = 320


def load(files):
    prompts = []
    for path in files:
        with open(path) as f:
            prompts += [json.loads(line) for line in f if line.strip()]
    return prompts


def with_call_ids(messages):
    """The API ties each tool message to its call by an id; the prompts leave that out, as the model never sees it."""
    messages, open_calls, number = copy.deepcopy(messages), [], 0
    for message in messages:
        for call in message.get("tool_calls", []):
            number += 1
            call.setdefault("id", f"call_{number}")
            open_calls.append(call["id"])
        if message["role"] == "tool":
            message.setdefault("tool_call_id", open_calls[0])
            open_calls.remove(message["tool_call_id"])
    return messages


def ask_server(url, model, prompt, temperature, key):
    """(text, calls, finished); without a temperature the server's own default counts."""
    body = {"model": model, "messages": with_call_ids(prompt["messages"]), "max_tokens": MAX_TOKENS}
    if prompt.get("tools"):
        body["tools"] = prompt["tools"]
    if temperature is not None:
        body["temperature"] = temperature
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=600) as reply:
        choice = json.load(reply)["choices"][0]
    message = choice["message"]
    calls = [{"name": c["function"]["name"], "arguments": json.loads(c["function"]["arguments"])} for c in message.get("tool_calls") or []]
    return message.get("content") or "", calls, choice["finish_reason"] in ("stop", "tool_calls")


def answers_from_server(args, prompts):
    def one(prompt):
        try:
            return ask_server(args.url, args.model, prompt, args.temperature, args.api_key)
        except Exception as e:                        # a failed request is a failed prompt
            return f"request failed: {e}", [], False
    with concurrent.futures.ThreadPoolExecutor(args.concurrency) as pool:
        return list(pool.map(one, prompts))


def answers_from_torch(args, prompts):
    import torch
    from chat import render
    from export_gguf import SAMPLING
    from generate import generate, load as load_model
    model, tokenizer = load_model(args.torch, "cuda" if torch.cuda.is_available() else "cpu")
    temperature = SAMPLING["temp"] if args.temperature is None else args.temperature
    by_length = sorted(range(len(prompts)), key=lambda i: len(str(prompts[i])))
    answers = [None] * len(prompts)
    for at in range(0, len(prompts), args.batch):
        part = by_length[at:at + args.batch]
        texts = [render(prompts[i]["messages"], prompts[i].get("tools")) for i in part]
        for i, (text, finished) in zip(part, generate(model, tokenizer, texts, MAX_TOKENS, temperature, SAMPLING["top_k"], SAMPLING["top_p"], args.seed)):
            answers[i] = (*checks.parse_calls(text), finished)
    return answers


def report(prompts, answers, show):
    """Prints the table; returns a JSON-able record."""
    passed, total, records = collections.Counter(), collections.Counter(), []
    for prompt, (text, calls, finished) in zip(prompts, answers):
        wrong = checks.problem(prompt["check"], text, calls, finished)
        total[prompt["skill"]] += 1
        passed[prompt["skill"]] += wrong is None
        records.append({"id": prompt["id"], "passed": wrong is None, "problem": wrong, "answer": text, "calls": calls})
        if wrong and show:
            print(f"--- {prompt['id']}: {wrong}\n    asked: {prompt['messages'][-1]['content']!r}\n    said:  {text!r} {calls or ''}")
    for skill in total:
        print(f"{skill:12s} {passed[skill]:4d} / {total[skill]:<4d} {passed[skill] / total[skill]:6.1%}")
    print(f"{'all':12s} {sum(passed.values()):4d} / {sum(total.values()):<4d} {sum(passed.values()) / sum(total.values()):6.1%}")
    return {"skills": {s: [passed[s], total[s]] for s in total}, "answers": records}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", default="qwend-demo", help="the model's name in requests")
    parser.add_argument("--api-key")
    parser.add_argument("--torch", metavar="GGUF", help="run this file in PyTorch instead of asking a server")
    parser.add_argument("--temperature", type=float, help="default: what the model recommends")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--prompts", nargs="*", default=sorted((HERE / "eval").glob("*.jsonl")))
    parser.add_argument("--skill", help="only this skill")
    parser.add_argument("--show", action="store_true", help="print the failures")
    parser.add_argument("--json", help="write every answer to this file")
    parser.add_argument("--at-least", type=float, default=0, help="exit with an error if a skill's share is below")
    args = parser.parse_args()
    prompts = [p for p in load(args.prompts) if args.skill in (None, p["skill"])]
    result = report(prompts, answers_from_torch(args, prompts) if args.torch else answers_from_server(args, prompts), args.show)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(result, f, ensure_ascii=False, indent=1)
    raise SystemExit(any(p / t < args.at_least for p, t in result["skills"].values()))


if __name__ == "__main__":
    main()
