"""The endpoints that are known by name, as their own pages give them.

A further one is an entry in `PRESETS`, and its name in README's row of `endpoints`: all else follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchrun.chat.request.wire import Instructions, TokenLimit

BEARER_HEADER = "authorization"
"""The header in which a key is a bearer token, `Bearer KEY` (RFC 6750, 2.1)."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """How an endpoint wants files uploaded: where to, and the fields beside the file."""

    path: str = "/files"
    purpose: str = "batch"
    says_name: bool = False
    """Whether the file's name is a field of its own."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What an endpoint has when the job says nothing else.

    Attributes:
        base_url: what `/chat/completions` is appended to; None where each user has a server of their own.
        api_key_env: the variable that holds the key; None where none is needed.
        api_key_header: the header that carries the key, in lower case: BEARER_HEADER, or one that holds
            the key alone.
        base_url_env: a variable that replaces `base_url` when it is set.
        token_limit: the only name of the token limit that it knows; None where it knows both.
        instructions: the only role of instructions that it knows; None where it knows both.
        most_stops: how many texts `stop` may have; None where any number will do.
        any_schema: answers are held to any schema as it stands, so that none is made strict for it.
        uploads: where that is not as OpenAI has it.
    """

    base_url: str | None
    api_key_env: str | None = None
    api_key_header: str = BEARER_HEADER
    base_url_env: str | None = None
    token_limit: TokenLimit | None = None
    instructions: Instructions | None = None
    most_stops: int | None = None
    any_schema: bool = False
    uploads: Uploads = Uploads()


SIMULATOR = "simulator"
"""The preset whose server batchrun starts, where the job gives no `base_url`."""

PRESETS: dict[str, Preset] = {
    "openai": Preset(
        "https://api.openai.com/v1", "OPENAI_API_KEY", base_url_env="OPENAI_BASE_URL", most_stops=4
    ),
    "lunos": Preset(
        "https://api.lunos.tech/v1", "LUNOS_API_KEY", token_limit="max_tokens", instructions="system"
    ),
    "lightcone": Preset("https://api.tzafon.ai/v1", "TZAFON_API_KEY"),
    "openrouter": Preset("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together": Preset(
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY",
        token_limit="max_tokens",
        instructions="system",
        uploads=Uploads("/files/upload", "batch-api", says_name=True),  # API reference, Upload a file
    ),
    "groq": Preset("https://api.groq.com/openai/v1", "GROQ_API_KEY", instructions="system"),
    "vllm": Preset("http://localhost:8000/v1", any_schema=True),
    "ollama": Preset(
        "http://localhost:11434/v1", token_limit="max_tokens", instructions="system", any_schema=True
    ),
    "llamacpp": Preset("http://localhost:8080/v1", token_limit="max_tokens", any_schema=True),
    SIMULATOR: Preset(None),
}

CUSTOM = Preset(None)
"""An endpoint that the job describes by itself."""
