"""The parts that a message's content may be made of.

Names in the docstrings are the types' names in OpenAI's API reference, in Lightcone's, or in
vLLM's, whose parameters Lightcone documents.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Tag

from batchrun.chat.request.members import Flag, Free, Members, Templated, Text, kind_of


class Part(Members):
    """One part of a message's content."""

    extra_body: dict[str, Free] | None = None
    """Further members of this part, for what an endpoint adds to the standard."""


class TextPart(Part):
    """Text (OpenAI: ChatCompletionContentPartText)."""

    type: Literal["text"]
    """text"""
    text: Text
    """The text."""


class ImageUrl(Members):
    """An image, by URL or as data (OpenAI: ImageURL)."""

    url: Text
    """An http(s) URL, or a data: URL with the image in base64."""
    detail: Templated[Literal["auto", "low", "high"]] | None = None
    """auto, low or high: how closely the model looks."""


class ImagePart(Part):
    """An image (OpenAI: ChatCompletionContentPartImage)."""

    type: Literal["image_url"]
    """image_url"""
    image_url: Templated[ImageUrl]
    """The image."""
    uuid: Text | None = None
    """vLLM: a name by which the server keeps the image in its cache."""


class InputAudio(Members):
    """Audio as data (OpenAI: InputAudio)."""

    data: Text
    """The audio in base64."""
    format: Templated[Literal["wav", "mp3"]]
    """wav or mp3."""


class InputAudioPart(Part):
    """Audio (OpenAI: ChatCompletionContentPartInputAudio)."""

    type: Literal["input_audio"]
    """input_audio"""
    input_audio: Templated[InputAudio]
    """The audio."""


class FileContent(Members):
    """A file, uploaded before or as data (OpenAI: ChatCompletionContentPartFile.file)."""

    file_data: Text | None = None
    """The file in base64, as a data: URL."""
    file_id: Text | None = None
    """The id of an uploaded file."""
    filename: Text | None = None
    """The file's name, as the model is told."""


class FilePart(Part):
    """A file (OpenAI: ChatCompletionContentPartFile)."""

    type: Literal["file"]
    """file"""
    file: Templated[FileContent]
    """The file."""


class RefusalPart(Part):
    """A refusal of the model's (OpenAI: ChatCompletionContentPartRefusal)."""

    type: Literal["refusal"]
    """refusal"""
    refusal: Text
    """What the model said."""


class MediaUrl(Members):
    """Audio or video by URL (Lightcone: AudioURL, VideoURL)."""

    url: Text
    """An http(s) URL, or a data: URL."""


class AudioUrlPart(Part):
    """Audio by URL (Lightcone: ChatCompletionContentPartAudioParam)."""

    type: Literal["audio_url"]
    """audio_url"""
    audio_url: Templated[MediaUrl]
    """The audio."""
    uuid: Text | None = None
    """vLLM: a name by which the server keeps the audio in its cache."""


class VideoUrlPart(Part):
    """A video by URL (Lightcone: ChatCompletionContentPartVideoParam)."""

    type: Literal["video_url"]
    """video_url"""
    video_url: Templated[MediaUrl]
    """The video."""
    uuid: Text | None = None
    """vLLM: a name by which the server keeps the video in its cache."""


class ImageEmbedsPart(Part):
    """An image that is embedded already (Lightcone: ChatCompletionContentPartImageEmbedsParam)."""

    type: Literal["image_embeds"]
    """image_embeds"""
    image_embeds: Text | dict[str, Text] | None = None
    """A tensor in base64, or several by name."""
    uuid: Text | None = None
    """A name by which the server keeps them in its cache."""


class AudioEmbedsPart(Part):
    """Audio that is embedded already (Lightcone: ChatCompletionContentPartAudioEmbedsParam)."""

    type: Literal["audio_embeds"]
    """audio_embeds"""
    audio_embeds: Text | dict[str, Text] | None = None
    """A tensor in base64, or several by name."""
    uuid: Text | None = None
    """A name by which the server keeps them in its cache."""


class ThinkingPart(Part):
    """What the model thought before (Lightcone: CustomThinkCompletionContentParam)."""

    type: Literal["thinking"]
    """thinking"""
    thinking: Text
    """The thoughts."""
    closed: Flag | None = None
    """false: the thought goes on."""


PARTS: dict[str, type[Members]] = {
    "text": TextPart,
    "image_url": ImagePart,
    "input_audio": InputAudioPart,
    "file": FilePart,
    "audio_url": AudioUrlPart,
    "video_url": VideoUrlPart,
    "image_embeds": ImageEmbedsPart,
    "audio_embeds": AudioEmbedsPart,
    "thinking": ThinkingPart,
    "refusal": RefusalPart,
}
"""The parts by their `type`."""

TextOnly: TypeAlias = Annotated[Annotated[TextPart, Tag("<TextPart>")], kind_of("type", {"text": TextPart})]
"""A part of the system's, the developer's or a tool's message."""

AssistantPart: TypeAlias = Annotated[
    Annotated[TextPart, Tag("<TextPart>")]
    | Annotated[RefusalPart, Tag("<RefusalPart>")]
    | Annotated[ThinkingPart, Tag("<ThinkingPart>")],
    kind_of("type", {"text": TextPart, "refusal": RefusalPart, "thinking": ThinkingPart}),
]
"""A part of an assistant's message."""

UserPart: TypeAlias = Annotated[
    Annotated[TextPart, Tag("<TextPart>")]
    | Annotated[ImagePart, Tag("<ImagePart>")]
    | Annotated[InputAudioPart, Tag("<InputAudioPart>")]
    | Annotated[FilePart, Tag("<FilePart>")]
    | Annotated[AudioUrlPart, Tag("<AudioUrlPart>")]
    | Annotated[VideoUrlPart, Tag("<VideoUrlPart>")]
    | Annotated[ImageEmbedsPart, Tag("<ImageEmbedsPart>")]
    | Annotated[AudioEmbedsPart, Tag("<AudioEmbedsPart>")]
    | Annotated[ThinkingPart, Tag("<ThinkingPart>")]
    | Annotated[RefusalPart, Tag("<RefusalPart>")],
    kind_of("type", PARTS),
]
"""A part of a user's message."""
