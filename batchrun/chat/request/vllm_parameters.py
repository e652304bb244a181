"""Parameters that vLLM adds to a chat completion request, as Lightcone's reference lists them."""

from __future__ import annotations

from batchrun.chat.request.members import (
    AnyNumber,
    Flag,
    Free,
    FreeMapping,
    FromMinusOne,
    FromZero,
    Members,
    Positive,
    Share,
    Templated,
    Text,
    Whole,
)
from batchrun.chat.request.options import LogitsProcessors, StructuredOutputs


class VllmParameters(Members):
    """What vLLM and services built on it know (Lightcone: ChatCreateCompletionParams)."""

    add_generation_prompt: Flag | None = None
    """vLLM: false leaves out the text that opens the answer in the chat template."""
    add_special_tokens: Flag | None = None
    """vLLM: true adds special tokens to what the chat template adds."""
    allowed_token_ids: Templated[list[Whole]] | None = None
    """vLLM: the only token ids that an answer may hold."""
    bad_words: Templated[list[Text]] | None = None
    """vLLM: words that an answer may not hold."""
    cache_salt: Text | None = None
    """vLLM: keeps the prefix cache apart from that of requests with another salt."""
    chat_template: Text | None = None
    """vLLM: the chat template, in Jinja: write it between {% raw %} and {% endraw %}."""
    chat_template_kwargs: FreeMapping | None = None
    """vLLM: further names for the chat template, as enable_thinking."""
    continue_final_message: Flag | None = None
    """vLLM: true continues the last message; excludes add_generation_prompt."""
    documents: Templated[list[Templated[dict[str, Text]]]] | None = None
    """vLLM: documents for the chat template, each best with `title` and `text`."""
    echo: Flag | None = None
    """vLLM: true puts the last message before the answer, where they have one role."""
    ignore_eos: Flag | None = None
    """vLLM: true goes on past the end-of-sequence token."""
    include_reasoning: Flag | None = None
    """vLLM: false leaves the reasoning out of the answer."""
    include_stop_str_in_output: Flag | None = None
    """vLLM: true keeps the stop text in the answer."""
    kv_transfer_params: FreeMapping | None = None
    """vLLM: parameters of disaggregated serving."""
    length_penalty: AnyNumber | None = None
    """vLLM: weighs lengths in beam search."""
    logits_processors: LogitsProcessors | None = None
    """vLLM: processors by qualified name, or as {qualname, args, kwargs}."""
    min_p: Share | None = None
    """vLLM: 0 to 1: drops tokens below this share of the likeliest one's probability."""
    min_tokens: FromZero | None = None
    """vLLM: fewest tokens of an answer before it may end."""
    mm_processor_kwargs: FreeMapping | None = None
    """vLLM: arguments of the model's processor for images, audio and video."""
    priority: Whole | None = None
    """vLLM: lower is handled earlier, where the server schedules by priority."""
    prompt_logprobs: FromMinusOne | None = None
    """vLLM: how many alternatives to return for each token of the prompt; -1 for all."""
    repetition_penalty: Positive | None = None
    """vLLM: above 1 makes tokens that have appeared less likely."""
    request_id: Text | None = None
    """vLLM: the request's id, which must be another one for each row."""
    return_token_ids: Flag | None = None
    """vLLM: true returns the token ids of prompt and answer."""
    return_tokens_as_token_ids: Flag | None = None
    """vLLM: true spells the tokens of logprobs as token_id:ID."""
    skip_special_tokens: Flag | None = None
    """vLLM: false keeps special tokens in the answer's text."""
    spaces_between_special_tokens: Flag | None = None
    """vLLM: false puts no space between special tokens."""
    stop_token_ids: Templated[list[Whole]] | None = None
    """vLLM: token ids before which the answer ends."""
    structured_outputs: Templated[StructuredOutputs] | None = None
    """vLLM: the answer by choice, grammar, json, json_object, regex or structural_tag."""
    top_k: FromMinusOne | None = None
    """vLLM: samples from this many of the likeliest tokens; -1 or 0 for all."""
    truncate_prompt_tokens: FromMinusOne | None = None
    """vLLM: keeps only this many tokens of the prompt's end; -1 for the model's most."""
    use_beam_search: Flag | None = None
    """vLLM: true searches by beams, n of them."""
    vllm_xargs: Templated[dict[str, Free]] | None = None
    """vLLM: text, numbers or lists of them, for the server's own extensions."""
