"""Checks of the demo model's parts that need neither a GPU nor PyTorch: python -m pytest demo"""
import json
import pathlib
import sys

import jinja2
import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))

import chat  # noqa: E402
import checks  # noqa: E402
import gguf_file  # noqa: E402
from corpus import mix, words  # noqa: E402
from corpus.core import Gen, held_out  # noqa: E402


@pytest.fixture(scope="module")
def model_file():
    return gguf_file.read(HERE / "qwend-demo.gguf")


def test_template_renders_what_training_rendered():
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    env.filters["tojson"] = chat.dumps
    template = env.from_string(chat.TEMPLATE_FILE.read_text())
    g = Gen(5)
    for _ in range(300):
        s = mix.conversation(g)
        for prompt in (True, False):
            assert template.render(messages=s.messages, tools=s.tools, add_generation_prompt=prompt) == chat.render(s.messages, s.tools, prompt)


def test_file_carries_the_template_and_a_whole_vocabulary(model_file):
    meta, tensors = model_file
    assert meta["tokenizer.chat_template"] == chat.TEMPLATE_FILE.read_text()
    tokens = meta["tokenizer.ggml.tokens"]
    assert tokens[-7:] == chat.CONTROL + chat.USER_DEFINED
    assert len(tokens) == len(set(tokens)) == tensors["token_embd.weight"].shape[0]
    known = set(tokens)
    assert all("".join(m.split(" ")) in known for m in meta["tokenizer.ggml.merges"])
    assert all(np.isfinite(t).all() for t in tensors.values())


def test_q8_0_blocks():
    x = np.array([[127.0, -127.0, 0.5, -0.5, 1.49, -2.5] + [0.0] * 26], np.float32)      # scale 1: rounds half away from zero
    assert list(gguf_file.dequantize_q8_0(gguf_file.quantize_q8_0(x), x.shape)[0][:6]) == [127, -127, 1, -1, 1, -3]
    assert not gguf_file.dequantize_q8_0(gguf_file.quantize_q8_0(np.zeros((1, 32))), (1, 32)).any()


def test_evaluation_words_are_never_trained():
    training, evaluation = Gen(1), Gen(1, heldout=True)
    assert not any(held_out("word", words.invented(training)) for _ in range(2000))
    assert all(held_out("word", words.invented(evaluation)) for _ in range(200))


def test_corpus_is_the_same_for_the_same_seed():
    assert [mix.conversation(Gen(7)).messages for _ in range(3)] == [mix.conversation(Gen(7)).messages for _ in range(3)]


def test_evaluation_prompts_have_known_checks():
    for path in (HERE / "eval").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            assert json.loads(line)["check"]["kind"] in checks.KINDS


@pytest.mark.parametrize("text, right", [("old stones\nzorble-9 in the moss\nthe river goes on", True), ("old stones\nzorble in the moss\nthe river goes on", False),
                                         ("old stones, zorble-9, the river", False)])
def test_haiku_check(text, right):
    assert (checks.problem({"kind": "haiku", "word": "zorble-9"}, text, [], True) is None) == right
