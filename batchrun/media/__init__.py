"""Images, audio and files that a row names: listed when a prompt is rendered, read when it is sent."""

from __future__ import annotations

from batchrun.media.filters import Media, collecting
from batchrun.media.reference import MAX_BYTES, MediaError, MediaRef, content, replace

__all__ = ["MAX_BYTES", "Media", "MediaError", "MediaRef", "collecting", "content", "replace"]
