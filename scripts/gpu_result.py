#!/usr/bin/env python3
"""The JSON file in which scripts/gpu.sh keeps what it measured, and its table.

    gpu_result.py FILE start --commit C                                device and driver are asked from nvidia-smi
    gpu_result.py FILE add NAME --log L --exit N --seconds S --kind K  exits 1 when the stage failed: N is not 0, or no test ran
    gpu_result.py FILE table
"""
import argparse
import datetime
import json
import pathlib
import re
import subprocess

DEVICE_FIELDS = {"name": "name", "driver": "driver_version", "compute_capability": "compute_cap", "memory": "memory.total",
                 "sm_clock_max": "clocks.max.sm", "memory_clock_max": "clocks.max.memory", "power_limit": "power.limit"}


def device():
    query = ["nvidia-smi", "--query-gpu=" + ",".join(DEVICE_FIELDS.values()), "--format=csv,noheader"]
    values = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(", ")
    return dict(zip(DEVICE_FIELDS, values))


def last_match(pattern, text):
    found = re.findall(pattern, text)
    return found[-1] if found else None


# ---- what a stage's output says

def catch2(text):
    passed = last_match(r"All tests passed \((\d+) assertions? in (\d+) test cases?\)", text)
    if passed:
        return {"cases": int(passed[1]), "assertions": int(passed[0]), "failed": 0, "skipped": text.count("skipped:")}
    cases = last_match(r"test cases: +(\d+)(?:.*?(\d+) failed)?", text)
    return {"cases": int(cases[0]), "failed": int(cases[1] or 0), "skipped": text.count("skipped:")} if cases else {}


def sanitizer(text):
    summary = last_match(r"(?:ERROR|RACECHECK) SUMMARY: ([^\n]*)", text)
    return {"summary": summary, **catch2(text)}


def evaluation(text):
    rows = re.findall(r"^(\S+) +(\d+) / (\d+) ", text, re.M)
    return {"skills": {skill: [int(right), int(asked)] for skill, right, asked in rows}}


def document(text):
    try:
        return {"report": json.loads(text)}
    except ValueError:
        return {"output": text[-2000:]}


def verification(text):
    """A report of `qwend verify`; of stages that passed only the outcome nearest to its tolerance, which says as much."""
    result = document(text)
    for stage in result.get("report", {}).get("stages", []):
        outcomes = stage["outcomes"]
        stage["comparisons"] = len(outcomes)
        if stage["passed"] and outcomes:
            stage["outcomes"] = [max(outcomes, key=lambda o: o["error"] / o["tolerance"] if o["tolerance"] else 0)]
    return result


KINDS = {"catch2": catch2, "verify": verification, "sanitizer": sanitizer, "eval": evaluation, "json": document, "text": lambda text: {"output": text[-20000:]}}


# ---- the table

def summary(kind, stage):
    if kind == "catch2":
        return f"{stage.get('cases', 0)} cases, {stage.get('failed', '?')} failed, {stage.get('skipped', 0)} skipped"
    if kind == "sanitizer":
        return f"{stage.get('summary')}; {stage.get('cases', 0)} cases"
    if kind == "eval":
        right, asked = stage["skills"].get("all", (0, 0))
        return f"{right} of {asked} answers right"
    return ""


def print_bench(name, report):
    limits = f"{report['read_bandwidth'] / 1e9:.0f} GB/s read, {(report['gemm_flops'] or 0) / 1e12:.0f} TFLOP/s"
    print(f"\n{name} on {report['device']['name']} ({limits}), context {report['context']}")
    if "load_seconds" in report:
        print(f"  loaded in {report['load_seconds']:.2f} s ({report['load_bandwidth'] / 1e9:.2f} GB/s), first token after "
              f"{report['first_token_seconds']:.2f} s")
    for r in report.get("mixed", []):
        print(f"  prompts of {r['prompt']} beside {r['streams']} streams: {r['tokens_per_second_alone']:.0f} tokens/s alone, "
              f"{r['tokens_per_second_beside']:.0f} beside; prompt {r['prompt_tokens_per_second']:.0f} tokens/s; longest gap "
              f"{r['longest_gap_alone_ms']:.1f} ms alone, {r['longest_gap_beside_ms']:.1f} ms beside")
    if not report["results"]:
        return
    print(f"  {'test':18} {'streams':>7} {'tokens/s':>12} {'of limit':>9} {'us/step':>10} {'busy':>10} {'gap':>8} {'host':>8}")
    for r in report["results"]:
        share = f"{100 * r['share_of_limit']:.1f}%" if r["share_of_limit"] else "-"
        print(f"  {r['test']:18} {r['streams']:7} {r['tokens_per_second']:12.1f} {share:>9} {r['step_us']:10.1f} {r['busy_us']:10.1f} "
              f"{r['gap_us']:8.1f} {r['host_us']:8.1f}")


def print_table(result):
    print(f"\n{result['device']['name']}, driver {result['device']['driver']}, commit {result['commit']}")
    for name, stage in result["stages"].items():
        verdict = "passed" if stage["exit"] == 0 else f"FAILED ({stage['exit']})"
        print(f"  {name:32} {verdict:12} {stage['seconds']:5} s   {summary(stage['kind'], stage)}".rstrip())
    for name, stage in result["stages"].items():
        if name.startswith(("bench/", "mixed/", "context/")) and "report" in stage:
            print_bench(name, stage["report"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=pathlib.Path)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("start").add_argument("--commit", required=True)
    add = commands.add_parser("add")
    add.add_argument("name")
    add.add_argument("--log", type=pathlib.Path, required=True)
    add.add_argument("--exit", type=int, required=True)
    add.add_argument("--seconds", type=int, required=True)
    add.add_argument("--kind", choices=KINDS, required=True)
    commands.add_parser("table")
    args = parser.parse_args()

    result = json.loads(args.file.read_text()) if args.file.exists() else {"stages": {}}
    if args.command == "table":
        return print_table(result)
    if args.command == "start":
        stages = result["stages"] if result.get("commit") == args.commit else {}
        result = {"commit": args.commit, "device": device(), "date": datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"),
                  "stages": stages}
    else:
        stage = {"kind": args.kind, "exit": args.exit, "seconds": args.seconds}
        stage.update(KINDS[args.kind](args.log.read_text(errors="replace")))
        if args.kind in ("catch2", "sanitizer") and stage.get("skipped", 0) >= stage.get("cases", 0):
            stage["exit"] = stage["exit"] or 77
        result["stages"][args.name] = stage
    args.file.parent.mkdir(parents=True, exist_ok=True)
    args.file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    raise SystemExit(args.command == "add" and stage["exit"] != 0)


if __name__ == "__main__":
    main()
