"""Each parameter of docs/API.md over raw HTTP: what it does, not only that it is accepted."""

import json
import secrets

import httpx
import pytest
from conftest import ASK_WEATHER, HELLO, STORY, WEATHER, WEATHER_FUNCTION, Server

GREEDY = {"temperature": 0, "max_tokens": 24}
# The distribution as it is: nothing is filtered out.
RAW = {"temperature": 2, "top_k": 0, "top_p": 1, "min_p": 0, "max_tokens": 24}


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=120) as client:
        yield client


def chat(http, expect=200, messages=STORY, **request):
    response = http.post("/v1/chat/completions", json=GREEDY | {"messages": messages} | request)
    assert response.status_code == expect, response.text
    return response.json()


def text(http, **request):
    return chat(http, **request)["choices"][0]["message"]["content"]


def chunks(http, path="/v1/chat/completions", **request):
    response = http.post(path, json=GREEDY | {"stream": True} | request)
    assert response.status_code == 200, response.text
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def complete(http, prompt, **request):
    response = http.post("/v1/completions", json=GREEDY | {"prompt": prompt} | request)
    assert response.status_code == 200, response.text
    return response.json()


def tokens(http, content):
    return http.post("/tokenize", json={"content": content}).json()["tokens"]


# ---- the model


@pytest.fixture(scope="module")
def other():
    """Another name, and OpenAI's defaults in place of the model's."""
    running = Server("--alias", "org/tiny", "--sampling-defaults", "openai")
    with httpx.Client(base_url=running.url, timeout=60) as client:
        yield client
    assert running.stop() == 0


def test_names_with_slashes(other):
    listed = other.get("/v1/models").json()["data"][0]
    assert listed["id"] == "org/tiny"
    assert other.get("/v1/models/org/tiny").json() == other.get("/v1/models/org%2Ftiny").json() == listed
    assert chat(other, model="org/tiny")["model"] == chat(other)["model"] == "org/tiny"
    assert chat(other, 404, model="tiny")["error"]["code"] == "model_not_found"


def test_sampling_defaults(http, other):
    body = {"messages": HELLO, "max_tokens": 1, "return_params": True}
    params = [client.post("/v1/chat/completions", json=body).json()["params"] for client in (http, other)]
    assert (params[1]["temperature"], params[1]["top_p"]) == (1, 1)
    assert (params[0]["temperature"], params[0]["top_p"]) == (0.3, 0.9)  # the file's


# ---- messages


def test_developer_is_system_and_parts_are_joined(http):
    plain = chat(http, messages=[{"role": "system", "content": "Be brief."}, *STORY])
    parts = [{"type": "text", "text": "Tell me "}, {"type": "text", "text": "a story."}]
    other = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts, "name": "ada"}]
    joined = chat(http, messages=other)
    assert joined["choices"][0]["message"] == plain["choices"][0]["message"]
    assert joined["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]


def test_null_is_absent_and_unknown_keys_are_ignored(http):
    nulls = dict.fromkeys(
        ["n", "stop", "seed", "tools", "tool_choice", "logprobs", "stream", "logit_bias", "top_k", "user"]
    )
    assert text(http, **nulls, no_such_parameter=1) == text(http)


def test_parameters_without_effect(http):
    accepted = {
        "user": "u",
        "metadata": {"a": "b"},
        "store": False,
        "service_tier": "auto",
        "verbosity": "low",
        "safety_identifier": "s",
        "prediction": {"type": "content", "content": "There was"},
        "modalities": ["text"],
    }
    assert text(http, **accepted) == text(http)


def test_add_generation_prompt(http):
    with_prompt = http.post("/apply-template", json={"messages": HELLO}).json()["prompt"]
    without = http.post("/apply-template", json={"messages": HELLO, "add_generation_prompt": False}).json()["prompt"]
    assert with_prompt == without + "<|im_start|>assistant\n"


def test_continue_final_message(http):
    whole = text(http)
    half = whole[: len(whole) // 2].rsplit(" ", 1)[0]
    messages = [*STORY, {"role": "assistant", "content": half}]
    rest = text(http, messages=messages, continue_final_message=True)
    assert (half + rest).startswith(whole[: len(whole) - 4])
    assert chat(http, 400, continue_final_message=True)["error"]["param"] == "continue_final_message"


def test_chat_template_kwargs_are_allow_listed(http):
    assert text(http, chat_template_kwargs={"enable_thinking": False}) == text(http)
    wrong = chat(http, 400, chat_template_kwargs={"custom": 1})
    assert wrong["error"]["param"] == "chat_template_kwargs.custom"


# ---- how many tokens


def test_max_completion_tokens_wins(http):
    answer = chat(http, max_tokens=20, max_completion_tokens=3)
    assert answer["usage"]["completion_tokens"] == 3 and answer["choices"][0]["finish_reason"] == "length"


def test_min_tokens_and_ignore_eos(http):
    short = chat(http, messages=HELLO, max_tokens=200)
    assert short["choices"][0]["finish_reason"] == "stop"
    count = short["usage"]["completion_tokens"]
    longer = chat(http, messages=HELLO, max_tokens=200, min_tokens=count + 7)
    assert longer["usage"]["completion_tokens"] >= count + 7
    endless = chat(http, messages=HELLO, max_tokens=count + 30, ignore_eos=True)
    assert endless["usage"]["completion_tokens"] == count + 30
    assert endless["choices"][0]["finish_reason"] == "length"


def test_stop_token_ids_and_the_stop_in_the_output(http):
    whole = text(http)
    word = whole.split(" ")[3]
    shown = text(http, stop=[word], include_stop_str_in_output=True)
    assert shown == whole[: whole.index(word) + len(word)]
    assert text(http, stop=word) == whole[: whole.index(word)]
    ids = chat(http, return_token_ids=True)["choices"][0]["token_ids"]
    cut = chat(http, stop_token_ids=[ids[5]], return_token_ids=True)["choices"][0]
    assert cut["finish_reason"] == "stop"
    assert cut["token_ids"] == ids[: ids.index(ids[5])]


def test_sixteen_stops(http):
    assert text(http, stop=[f"never {i}" for i in range(16)]) == text(http)
    assert chat(http, 400, stop=["x"] * 17)["error"]["param"] == "stop"


def test_repetition_detection(http):
    ids = tokens(http, "a b")
    limit = {"max_pattern_size": 4, "min_count": 3}
    answer = chat(http, allowed_token_ids=ids[:1], max_tokens=60, repetition_detection=limit)
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 3


def test_truncate_prompt_tokens(http):
    ids = tokens(http, "one two three four five six seven eight nine ten")
    whole = complete(http, ids[-5:])
    cut = complete(http, ids, truncate_prompt_tokens=5)
    assert cut["usage"]["prompt_tokens"] == 5
    assert cut["choices"][0]["text"] == whole["choices"][0]["text"]


# ---- what is drawn


def test_logit_bias_bad_words_and_allowed_tokens(http):
    ids = chat(http, return_token_ids=True)["choices"][0]["token_ids"]
    first = http.post("/detokenize", json={"tokens": ids[:1]}).json()["content"]
    assert not text(http, logit_bias={str(ids[0]): -100}).startswith(first)
    assert not text(http, bad_words=[first.strip()]).startswith(first)
    other = tokens(http, "hello")[:1]
    assert chat(http, logit_bias={str(other[0]): 100}, return_token_ids=True)["choices"][0]["token_ids"] == other * 24
    only = chat(http, allowed_token_ids=ids[:3], return_token_ids=True)
    assert set(only["choices"][0]["token_ids"]) <= set(ids[:3])


@pytest.mark.parametrize("filters", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1}], ids=str)
def test_a_filter_that_leaves_one_token_is_greedy(http, filters):
    assert text(http, **RAW | filters, seed=3) == text(http)


def test_typical_p_and_xtc_change_what_is_drawn(http):
    drawn = text(http, **RAW, seed=5)
    assert text(http, **RAW, seed=5) == drawn
    assert text(http, **RAW, seed=5, typical_p=0.2) != drawn
    xtc = {"xtc_probability": 1, "xtc_threshold": 1e-9}
    assert text(http, **RAW, seed=5, **xtc) != drawn


def test_both_names_of_the_repetition_penalty(http):
    prompt = "hello hello hello hello"
    free = complete(http, prompt)["choices"][0]["text"]
    one = complete(http, prompt, repetition_penalty=10)["choices"][0]["text"]
    assert one == complete(http, prompt, repeat_penalty=10)["choices"][0]["text"] != free


def test_penalties_and_dry_keep_from_repeating(http):
    ids = tokens(http, "a b c d e f")
    few = RAW | {"allowed_token_ids": ids, "return_token_ids": True, "max_tokens": 100, "seed": 2}

    def repeats(**penalty):
        """How often a pair of tokens has been there before."""
        drawn = chat(http, **few | penalty)["choices"][0]["token_ids"]
        pairs = list(zip(drawn, drawn[1:]))
        return len(pairs) - len(set(pairs))

    free = repeats()
    for penalty in ({"frequency_penalty": 2}, {"dry_multiplier": 100, "dry_allowed_length": 1}):
        assert repeats(**penalty) < free, penalty
    present = {"presence_penalty": 2}
    assert chat(http, **few)["choices"] != chat(http, **few | present)["choices"]


def test_return_params_tells_what_was_used(http):
    params = chat(http, top_k=7, return_params=True)["params"]
    assert params["top_k"] == 7 and params["temperature"] == 0
    assert chunks(http, messages=STORY, top_k=7, return_params=True)[0]["params"] == params


# ---- what is told


def test_logprobs_of_chosen_tokens(http):
    asked = tokens(http, " dragon")[:1] + tokens(http, "hello")[:1]
    entries = chat(http, logprobs=True, top_logprobs=1, logprob_token_ids=asked)["choices"][0]["logprobs"]["content"]
    all_of = chat(http, logprobs=True, top_logprobs=20)["choices"][0]["logprobs"]["content"]
    for entry, full in zip(entries, all_of):
        assert len(entry["top_logprobs"]) == 1 + len(asked) or entry["top_logprobs"][0]["token"] == entry["token"]
        assert {"token", "logprob", "bytes"} <= entry["top_logprobs"][-1].keys()
        known = {top["token"]: top["logprob"] for top in full["top_logprobs"]}
        for top in entry["top_logprobs"]:
            assert top["logprob"] == known.get(top["token"], top["logprob"])
    legacy = complete(http, "Once upon", logprobs=0, logprob_token_ids=asked)["choices"][0]["logprobs"]
    assert all(len(top) >= 2 for top in legacy["top_logprobs"])
    assert chat(http, 400, logprobs=True, logprob_token_ids=[-1])["error"]["param"] == "logprob_token_ids[0]"


def test_token_ids_whole_and_streamed(http):
    whole = chat(http, return_token_ids=True)
    ids = whole["choices"][0]["token_ids"]
    assert http.post("/detokenize", json={"tokens": ids}).json()["content"] == whole["choices"][0]["message"]["content"]
    assert len(whole["prompt_token_ids"]) == whole["usage"]["prompt_tokens"]
    streamed = chunks(http, messages=STORY, return_token_ids=True)
    assert sum((chunk["choices"][0]["token_ids"] for chunk in streamed), []) == ids
    assert streamed[0]["prompt_token_ids"] == whole["prompt_token_ids"]


def test_continuous_usage_and_timings(http):
    options = {"include_usage": True, "continuous_usage_stats": True}
    streamed = chunks(http, messages=STORY, stream_options=options, timings_per_token=True)
    counts = [chunk["usage"]["completion_tokens"] for chunk in streamed]
    assert counts == sorted(counts) and counts[0] >= 1 and counts[-1] == 24
    assert streamed[-1]["choices"] == []
    predicted = [chunk["timings"]["predicted_n"] for chunk in streamed if "timings" in chunk]
    assert len(predicted) >= len(streamed) - 1 and predicted[-1] == 24
    assert {"queue_ms", "prompt_ms", "ttft_ms", "predicted_ms", "cache_n"} <= streamed[-1]["timings"].keys()


def test_no_usage_chunk_unasked(http):
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in chunks(http, messages=STORY))


def test_control_tokens_are_shown_on_request(http):
    shown = text(http, messages=HELLO, max_tokens=200, skip_special_tokens=False, stop_token_ids=[], ignore_eos=True)
    hidden = text(http, messages=HELLO, max_tokens=200, ignore_eos=True)
    assert "<|im_end|>" in shown and "<|im_end|>" not in hidden


def test_choices_of_a_stream_interleave(http):
    streamed = chunks(http, messages=STORY, n=4, **{**RAW, "seed": 1})
    whole = chat(http, n=4, **RAW, seed=1)
    indices = [chunk["choices"][0]["index"] for chunk in streamed]
    assert indices != sorted(indices)
    for index in range(4):
        own = [chunk["choices"][0] for chunk in streamed if chunk["choices"][0]["index"] == index]
        assert own[0]["delta"]["role"] == "assistant" and "role" not in own[1]["delta"]
        joined = "".join(choice["delta"].get("content") or "" for choice in own)
        assert joined == whole["choices"][index]["message"]["content"]
        assert [choice["finish_reason"] is None for choice in own] == [True] * (len(own) - 1) + [False]


# ---- the prefix cache


def fresh():
    """Messages that nobody has sent, of some 100 tokens."""
    return [{"role": "user", "content": secrets.token_hex(48) + " Tell me a story."}]


def cached(answer):
    assert answer["timings"]["cache_n"] == answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    return answer["timings"]["cache_n"]


def test_cached_tokens_are_counted(http):
    messages = fresh()
    first = chat(http, messages=messages)
    again = chat(http, messages=messages)
    size = again["usage"]["prompt_tokens"]
    assert cached(first) < 32 < size - 17 <= cached(again) < size
    assert again["choices"] == first["choices"]
    streamed = chunks(http, messages=messages, stream_options={"include_usage": True})[-1]
    assert cached(streamed) == cached(again)


def test_cached_tokens_in_other_dialects(http):
    messages = fresh()
    body = {"input": messages, "max_output_tokens": 4, "temperature": 0}
    used = [http.post("/v1/responses", json=body).json()["usage"] for _ in range(2)]
    assert used[0]["input_tokens_details"]["cached_tokens"] < 32 < used[1]["input_tokens_details"]["cached_tokens"]
    usage = http.post("/v1/messages", json={"messages": messages, "max_tokens": 4}).json()["usage"]
    assert usage["cache_read_input_tokens"] == used[1]["input_tokens_details"]["cached_tokens"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == used[1]["input_tokens"]


@pytest.mark.parametrize("salt", ["cache_salt", "prompt_cache_key"])
def test_salts_keep_caches_apart(http, salt):
    messages = fresh()
    chat(http, messages=messages, **{salt: "a" + messages[0]["content"]})
    assert cached(chat(http, messages=messages, **{salt: "b" + messages[0]["content"]})) == 0
    assert cached(chat(http, messages=messages, **{salt: "a" + messages[0]["content"]})) > 0


def test_cache_prompt_false(http):
    messages = fresh()
    chat(http, messages=messages)
    assert cached(chat(http, messages=messages, cache_prompt=False)) == 0


def test_echoed_logprobs_use_and_fill_the_cache(http):
    ids = tokens(http, fresh()[0]["content"])
    echo = {"echo": True, "logprobs": 2, "max_tokens": 0}
    alone = complete(http, ids, **echo, cache_prompt=False)
    complete(http, ids)  # the keys and values are there now, the log-probabilities are not
    first = complete(http, ids, **echo)
    again = complete(http, ids, **echo)
    longer = complete(http, ids + ids[:9], **echo)
    assert first["choices"] == again["choices"] == alone["choices"]
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > len(ids) - 18
    assert longer["usage"]["prompt_tokens_details"]["cached_tokens"] > len(ids) - 18
    shared = len(ids)
    for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert longer["choices"][0]["logprobs"][key][:shared] == alone["choices"][0]["logprobs"][key]


# ---- tools


def test_strict_functions_are_accepted(http):
    asked = {"messages": ASK_WEATHER, "max_tokens": 64}
    strict = {"type": "function", "function": WEATHER_FUNCTION | {"strict": True}}
    calls = [chat(http, **asked, tools=[tool])["choices"][0]["message"]["tool_calls"] for tool in (WEATHER, strict)]
    assert calls[0][0]["function"]["name"] == calls[1][0]["function"]["name"]


def test_parallel_calls_and_only_one(http):
    """Driven on beyond its end, the model may call again."""
    both = chat(http, messages=ASK_WEATHER, tools=[WEATHER], max_tokens=120, ignore_eos=True)
    one = chat(http, messages=ASK_WEATHER, tools=[WEATHER], max_tokens=120, ignore_eos=True, parallel_tool_calls=False)
    calls = [answer["choices"][0]["message"]["tool_calls"] for answer in (both, one)]
    assert len(calls[1]) == 1 and calls[1][0]["function"] == calls[0][0]["function"]


# ---- structured output is refused, after it has been checked

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    "request_, param",
    [
        ({"response_format": {"type": "json_object"}}, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
            "response_format",
        ),
        ({"guided_json": SCHEMA}, "guided_json"),
        ({"guided_regex": "a+"}, "guided_regex"),
        ({"guided_choice": ["a", "b"]}, "guided_choice"),
        ({"guided_grammar": "root ::= 'a'"}, "guided_grammar"),
        ({"structured_outputs": {"json": SCHEMA}}, "structured_outputs"),
        ({"json_schema": SCHEMA}, "json_schema"),
        ({"grammar": "root ::= 'a'"}, "grammar"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_structured_output_is_unsupported(http, path, request_, param):
    body = {"messages": STORY} if "chat" in path else {"prompt": "x"}
    for stream in (False, True):
        response = http.post(path, json=body | request_ | {"stream": stream})
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["code"] == "unsupported" and error["param"].startswith(param)


@pytest.mark.parametrize(
    "format_",
    [{"type": "json_object"}, {"type": "json_schema", "name": "x", "schema": SCHEMA}],
    ids=["object", "schema"],
)
def test_structured_responses_are_unsupported(http, format_):
    error = http.post("/v1/responses", json={"input": "x", "text": {"format": format_}}).json()["error"]
    assert error["code"] == "unsupported" and error["param"].startswith("text.format")


@pytest.mark.parametrize(
    "format_, param",
    [
        ({"type": "yaml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": SCHEMA}}, "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": 3}}, "response_format.json_schema.schema"),
        ("json", "response_format"),
    ],
)
def test_wrong_response_formats_are_told_by_path(http, format_, param):
    error = chat(http, 400, response_format=format_)["error"]
    assert error["param"] == param and error["code"] != "unsupported"


def test_text_format_is_what_there_is(http):
    assert text(http, response_format={"type": "text"}) == text(http)


# ---- other 400s that would change the answer


@pytest.mark.parametrize(
    "request_, param",
    [
        ({"chat_template": "x"}, "chat_template"),
        ({"functions": []}, "functions"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"modalities": ["audio"]}, "modalities[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
        ),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unsupported(http, request_, param):
    error = http.post("/v1/chat/completions", json={"messages": STORY} | request_).json()["error"]
    assert (error["code"], error["param"]) == ("unsupported", param)
