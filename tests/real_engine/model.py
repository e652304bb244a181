"""A language model of 300 tokens with random weights, written in a moment: no download, no sense.

It is what llama.cpp calls `llama` with a SentencePiece vocabulary: a token for each byte, one for each
printable ASCII character, and some pieces of words, so that texts have several ways to be written.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

from tests.real_engine import CONTEXT

_WIDTH, _HEADS, _LAYERS, _INNER = 64, 4, 2, 128
_SPECIAL = ["<unk>", "<s>", "</s>"]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_PIECES = ["▁", *map(chr, range(33, 127)), "bi", "ill", "bill", "ing", "sh", "ip", "ship", "ping", '":', '"}']
_TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}a:"


def write_model(path: Path, *, seed: int = 7) -> Path:
    """Write the model to `path` (GGUF); equal seeds give equal models."""
    writer = gguf.GGUFWriter(path, "llama")
    tokens = _SPECIAL + _BYTES + _PIECES
    _describe(writer, len(tokens))
    _add_vocabulary(writer, tokens)
    _add_weights(writer, len(tokens), np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)


def _add_vocabulary(writer: gguf.GGUFWriter, tokens: list[str]) -> None:
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * len(_BYTES) + [gguf.TokenType.NORMAL] * len(_PIECES)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(number) for number in range(len(_PIECES))])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(_TEMPLATE)


def _add_weights(writer: gguf.GGUFWriter, vocabulary: int, random: np.random.Generator) -> None:
    def add(name: str, *shape: int, scale: float) -> None:
        writer.add_tensor(name, random.normal(0, scale, shape).astype(np.float32))

    def add_ones(name: str) -> None:
        writer.add_tensor(name, np.ones(_WIDTH, np.float32))

    add("token_embd.weight", vocabulary, _WIDTH, scale=1)
    add("output.weight", vocabulary, _WIDTH, scale=0.3)
    add_ones("output_norm.weight")
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        add_ones(f"{block}.attn_norm.weight")
        add_ones(f"{block}.ffn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"{block}.{name}.weight", _WIDTH, _WIDTH, scale=0.2)
        for name in ("ffn_gate", "ffn_up"):
            add(f"{block}.{name}.weight", _INNER, _WIDTH, scale=0.2)
        add(f"{block}.ffn_down.weight", _WIDTH, _INNER, scale=0.2)
