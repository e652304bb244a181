"""What is to be asked for one row: its beginning, its further turns, its body for each model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from batchrun import codec
from batchrun.chat.dialogue import Dialogue, Step
from batchrun.chat.stamps import Stamp, is_stored, stamped
from batchrun.media import MediaError, MediaRef, collecting, content, replace
from batchrun.outcome import Error
from batchrun.render.evaluate import RenderError, no_json
from batchrun.template.template import Context
from batchrun.value import value

if TYPE_CHECKING:
    from batchrun.render.renderer import Renderer

BYTES_PER_TOKEN = 4
"""How many bytes of a prompt make a token, before any usage has been reported."""

MEDIA_TOKENS = 1_000
"""What an image, a clip or a file is taken for, before any usage has been reported."""


@value(frozen=True, slots=True)
class RowRequest:
    """What is to be asked for one row, before a model is chosen."""

    messages: list[dict[str, Any]]
    request_hash: str
    context: Context
    renderer: Renderer
    media: list[MediaRef] = field(default_factory=list)
    """What the markers in `messages` and parameters stand for."""
    _parameters: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)
    """Bytes of the body that holds the prompt alone, by model."""

    def parameters(self, model_index: int) -> Mapping[str, Any]:
        """The parameters for one model of the chain. Raises RenderError."""
        if model_index not in self._parameters:
            with collecting(self.media):
                self._parameters[model_index] = self.renderer.parameters(model_index, self.context)
        return self._parameters[model_index]

    def is_stored(self, model_index: int) -> bool:
        """Whether a model's provider is asked to keep the answer (`store: true`). Raises RenderError."""
        return is_stored(self.parameters(model_index))

    def body(
        self,
        model_index: int,
        messages: Sequence[Mapping[str, Any]] | None = None,
        *,
        last: bool = True,
        stamp: Stamp | None = None,
    ) -> bytes:
        """The request's body for one model of the chain, with media read in. Raises RenderError.

        `messages` as the conversation stands, by default its beginning; `last` asks for the job's schema.
        `stamp` goes along where the answer is to be stored.
        """
        try:
            document = self.renderer.document(self, model_index, messages or self.messages, last=last)
            if stamp is not None:
                document = stamped(document, stamp)
            return codec.dumps(self.with_media(document))
        except TypeError as error:
            raise no_json(error) from error

    def with_media(self, value: Any) -> Any:
        """`value` with media read in, as it is sent. Raises RenderError."""
        try:
            return replace(value, self.media, content)
        except MediaError as error:
            raise RenderError(Error("media", str(error))) from error

    def document(self, model_index: int, step: Step | None = None) -> dict[str, Any]:
        """What one model is sent, for people: media are named, not read. By default the first ask.

        Raises RenderError.
        """
        messages = step.messages if step else self.messages
        last = step.last if step else not self.renderer.prompt.has_turns
        document: dict[str, Any] = self.shown(self.renderer.document(self, model_index, messages, last=last))
        return document

    def shown(self, value: Any) -> Any:
        """`value` with media named instead of read in."""
        return replace(value, self.media, lambda ref: ref.label)

    def dialogue(self) -> Dialogue:
        """The conversation about the row, at its beginning."""
        renderer = self.renderer
        parameters = self.parameters(0)
        return Dialogue(
            self.messages,
            renderer.prompt.turns(self.context, self.media),
            renderer.reader(parameters),
            renderer.dialogue_rules,
            legacy="functions" in parameters,
            show=self.shown,
        )

    def digest(self, step: Step) -> str:
        """Names a step of this row's conversation, media by their identity."""
        asked = replace([list(step.messages), step.last], self.media, lambda ref: ref.identity)
        return codec.digest_of(asked)

    @property
    def named_model(self) -> str:
        """The model that the row itself names, where the job leaves it to the rows. Raises RenderError."""
        return self.renderer.named_model(self.context)

    @property
    def prompt_tokens(self) -> int:
        """Estimate of the prompt's tokens, before any usage has been reported."""
        size = 0
        for message in self.messages:
            content = message.get("content")
            size += _size(content) if type(content) is str else sum(map(_size, _texts(content)))
        return _tokens(size + self.renderer.fixed_bytes) + MEDIA_TOKENS * len(self.media)

    def estimated_tokens(self, body: bytes, model_index: int, *, is_prompt: bool) -> int:
        """The same for a body of this request: the prompt itself, or one that says more than that.

        Servers count what is said, not the JSON around it, which is most of a short prompt's body.
        """
        if is_prompt:
            self._sizes[model_index] = len(body)
            return self.prompt_tokens
        if model_index in self._sizes:
            return self.prompt_tokens + max(0, len(body) - self._sizes[model_index]) // BYTES_PER_TOKEN
        encoded = sum(ref.size for ref in self.media) * 4 // 3
        return _tokens(max(0, len(body) - encoded)) + MEDIA_TOKENS * len(self.media)


def _texts(content: Any) -> Iterator[str]:
    """The texts of a message, without the JSON around them."""
    for part in content if isinstance(content, list) else [content]:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            yield text


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def _tokens(size: int) -> int:
    return size // BYTES_PER_TOKEN + 1
