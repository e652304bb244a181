"""The endpoints that are known by name, as their own pages give them."""

from __future__ import annotations

from dataclasses import dataclass

from batchrun.chat.request.wire import Instructions, TokenLimit


@dataclass(frozen=True, slots=True)
class Preset:
    """What an endpoint has when the job says nothing else.

    Attributes:
        base_url: what `/chat/completions` is appended to; None where batchrun starts the server.
        api_key_env: the variable that holds the key; None where none is needed.
        base_url_env: a variable that replaces `base_url` when it is set.
        token_limit: the only name of the token limit that it knows; None where it knows both.
        instructions: the only role of instructions that it knows; None where it knows both.
    """

    base_url: str | None
    api_key_env: str | None = None
    base_url_env: str | None = None
    token_limit: TokenLimit | None = None
    instructions: Instructions | None = None


SIMULATOR = "simulator"

PRESETS: dict[str, Preset] = {
    "openai": Preset("https://api.openai.com/v1", "OPENAI_API_KEY", base_url_env="OPENAI_BASE_URL"),
    "lunos": Preset(
        "https://api.lunos.tech/v1", "LUNOS_API_KEY", token_limit="max_tokens", instructions="system"
    ),
    "lightcone": Preset("https://api.tzafon.ai/v1", "TZAFON_API_KEY"),
    "openrouter": Preset("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together": Preset(
        "https://api.together.xyz/v1", "TOGETHER_API_KEY", token_limit="max_tokens", instructions="system"
    ),
    "groq": Preset("https://api.groq.com/openai/v1", "GROQ_API_KEY", instructions="system"),
    "vllm": Preset("http://localhost:8000/v1"),
    "ollama": Preset("http://localhost:11434/v1", token_limit="max_tokens", instructions="system"),
    "llamacpp": Preset("http://localhost:8080/v1", token_limit="max_tokens"),
    SIMULATOR: Preset(None),
}

CUSTOM = Preset(None)
"""An endpoint that the job describes by itself."""
