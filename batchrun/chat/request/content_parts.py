"""The parts that a message's content may be made of.

Names in the docstrings are the types' names in OpenAI's API reference, in Lightcone's, or in
vLLM's, whose parameters Lightcone documents.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from batchrun.chat.request.members import Flag, Free, KindOf, Members, Templated, Text


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


TextOnly: TypeAlias = Annotated[TextPart, KindOf("type")]
"""A part of the system's, the developer's or a tool's message."""

AssistantPart: TypeAlias = Annotated[TextPart | RefusalPart | ThinkingPart, KindOf("type")]
"""A part of an assistant's message."""

UserPart: TypeAlias = Annotated[
    TextPart
    | ImagePart
    | InputAudioPart
    | FilePart
    | AudioUrlPart
    | VideoUrlPart
    | ImageEmbedsPart
    | AudioEmbedsPart
    | ThinkingPart
    | RefusalPart,
    KindOf("type"),
]
"""A part of a user's message."""
