"""lm-evaluation-harness' `local-completions` against a model whose log-likelihoods are known."""

import json

import pytest
from conftest import SCHEMA, Server
from lm_eval.models.openai_completions import LocalCompletionsAPI

GOLDENS = SCHEMA.parent.parent / "goldens"
TOLERANCE = 5e-4  # of one log-probability, weights as F16, keys and values in FP32


@pytest.fixture(scope="module")
def golden():
    path = GOLDENS / "qwen3-qknorm.goldens.json"
    if not path.exists():
        pytest.skip(f"no goldens at {path}")
    return json.loads(path.read_text())["variants"]["f16"]["cases"]


@pytest.fixture(scope="module")
def harness(golden):
    running = Server("--model", str(GOLDENS / "qwen3-qknorm-f16.gguf"), "--alias", "golden", "--kv-dtype", "f32")
    api = LocalCompletionsAPI(
        model="golden",
        base_url=running.url + "/v1/completions",
        tokenizer_backend=None,
        num_concurrent=1,
        batch_size=4,
        max_retries=1,
    )
    # Requests are token ids: a tokenizer must be there, but is never asked.
    api.tokenizer, api.tokenized_requests = "none", True
    yield api
    assert running.stop() == 0


def requests_of(cases):
    """[((context, continuation), context ids, continuation ids)], the shape of tokenised requests."""
    made = []
    for i, case in enumerate(cases):
        tokens = [step["token"] for step in case["steps"]]
        made.append(((f"context {i}", f"continuation {i}"), case["prompt"], tokens))
    return made


def test_log_likelihoods_equal_the_reference(harness, golden):
    results = harness._loglikelihood_tokens(requests_of(golden), disable_tqdm=True)
    assert len(results) == len(golden)
    for (likelihood, greedy), case in zip(results, golden):
        reference = sum(step["logprob"] for step in case["steps"])
        assert likelihood == pytest.approx(reference, abs=TOLERANCE * len(case["steps"]))
        assert greedy or min(step["margin"] for step in case["steps"]) < 2 * TOLERANCE
