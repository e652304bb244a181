"""Media of rows: listed without reading, confined to one folder, and sent as they were listed."""

from __future__ import annotations

import base64
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchrun.media import MAX_BYTES, Media, MediaError, MediaRef, collecting, content, replace
from batchrun.media.kinds import media_type
from batchrun.template.template import Templates

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A media root with files, folders and links in it, and a secret beside it."""
    media = tmp_path / "media"
    (media / "photos").mkdir(parents=True)
    (media / "photos" / "a.png").write_bytes(PNG)
    (media / "wrong.jpg").write_bytes(PNG)
    (media / "empty.png").touch()
    (media / "latest.png").symlink_to("photos/a.png")
    (media / "out.png").symlink_to("../secret.png")
    (media / "loop.png").symlink_to("loop.png")
    os.mkfifo(media / "pipe.wav")
    (tmp_path / "secret.png").write_bytes(PNG)
    (tmp_path / "media-2").mkdir()
    (tmp_path / "media-2" / "a.png").write_bytes(PNG)
    return media


def rendered(root: Path | None, source: Any, **row: Any) -> tuple[Any, list[MediaRef]]:
    """What a template gives, and the media in it."""
    media = Media(root)
    prepared = Templates(Path(), data_url=media.data_url, base64=media.base64).value(source)
    with collecting() as refs:
        return prepared(row), refs


def sent(root: Path | None, source: Any, **row: Any) -> Any:
    value, refs = rendered(root, source, **row)
    return replace(value, refs, content)


def url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    "name", ["photos/a.png", "./photos/../photos/a.png", "latest.png", "{root}/photos/a.png", "wrong.jpg"]
)
def test_a_file_is_sent_as_a_data_url(root: Path, name: str) -> None:
    """By any spelling that stays below the root; its first bytes say what it is, not its suffix."""
    assert sent(root, "{{ photo | data_url }}", photo=name.format(root=root)) == url("image/png", PNG)


def test_a_file_is_sent_as_base64(root: Path) -> None:
    """As `input_audio` and some endpoints want it."""
    assert base64.b64decode(sent(root, "{{ x | base64 }}", x="photos/a.png")) == PNG


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PNG, url("image/png", PNG)),
        ({"bytes": PNG, "path": None}, url("image/png", PNG)),
        ({"bytes": b"notes", "path": "a.txt"}, url("text/plain", b"notes")),
        ({"bytes": b"notes"}, url("application/octet-stream", b"notes")),
        ({"bytes": None, "path": "photos/a.png"}, url("image/png", PNG)),
        ("https://example.com/a.png", "https://example.com/a.png"),
        ("HTTP://example.com/a.png", "HTTP://example.com/a.png"),
        ("data:text/plain,a", "data:text/plain,a"),
    ],
)
def test_bytes_structs_and_urls(root: Path, value: Any, expected: str) -> None:
    """Bytes columns, the structs of Hugging Face datasets, and URLs, which nothing fetches."""
    assert sent(root, "{{ x | data_url }}", x=value) == expected


def test_media_stand_anywhere_in_a_text_or_a_structure(root: Path) -> None:
    """Several of them, beside each other and inside JSON text too."""
    source = {
        "parts": [{"url": "{{ a | data_url }}"}, "<{{ a | base64 }}|{{ b | base64 }}>", 7, None],
        "text": "{{ {'image': b | base64} | tojson }}",
    }
    encoded = base64.b64encode(PNG).decode()
    assert sent(root, source, a="photos/a.png", b=b"bb") == {
        "parts": [{"url": url("image/png", PNG)}, f"<{encoded}|YmI=>", 7, None],
        "text": '{"image":"YmI="}',
    }


def test_what_is_hashed_is_place_size_and_time_of_change(root: Path) -> None:
    """However the row spells the file; and another root with the same files costs nothing."""
    os.utime(root / "photos" / "a.png", ns=(1, 1_700_000_000_123_456_789))
    expected = "media:data_url:photos/a.png:28:1700000000123456789"
    for name in ("photos/a.png", "latest.png", f"{root}/photos/a.png"):
        value, refs = rendered(root, "{{ x | data_url }}", x=name)
        assert replace(value, refs, lambda ref: ref.identity) == expected
    moved = root.rename(root.parent / "moved")
    value, refs = rendered(moved, "a {{ x | data_url }}", x="photos/a.png")
    assert replace(value, refs, lambda ref: ref.identity) == f"a {expected}"


def test_what_is_hashed_of_bytes_is_their_digest() -> None:
    """Equal bytes have one identity; other bytes, another form or another media type have another."""
    values = [
        ("{{ x | data_url }}", PNG),
        ("{{ x | data_url }}", PNG + b"1"),
        ("{{ x | base64 }}", PNG),
        ("{{ x | data_url }}", {"bytes": b"a", "path": "a.txt"}),
        ("{{ x | data_url }}", {"bytes": b"a", "path": "a.csv"}),
    ]
    first, again = ([rendered(None, source, x=x)[1][0].identity for source, x in values] for _ in range(2))
    assert first == again
    assert len(set(first)) == len(values)
    assert all(
        identity.startswith(("media:data_url:blake2b:", "media:base64:blake2b:")) for identity in first
    )


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("photos/a.png", "photos/a.png (image/png, 28 bytes)"),
        (PNG, "(image/png, 28 bytes)"),
        ({"bytes": bytes(12345), "path": "clip.mp3"}, "clip.mp3 (audio/mpeg, 12,345 bytes)"),
    ],
)
def test_what_people_see_is_short(root: Path, value: Any, label: str) -> None:
    """The name as the row spells it, what it is, and its size."""
    shown, refs = rendered(root, "see {{ x | data_url }}", x=value)
    assert replace(shown, refs, lambda ref: ref.label) == f"see {label}"


def test_listing_reads_no_file(root: Path) -> None:
    """Other bytes with the same size and time of change are the same file, until it is sent."""
    photo = root / "photos" / "a.png"
    _value, (before,) = rendered(root, "{{ x | data_url }}", x="photos/a.png")
    stat = photo.stat()
    photo.write_bytes(b"?" * stat.st_size)
    os.utime(photo, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    _value, (after,) = rendered(root, "{{ x | data_url }}", x="photos/a.png")
    assert after.identity == before.identity
    assert content(after).endswith(base64.b64encode(b"?" * stat.st_size).decode())


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("absent.png", r"^absent\.png: no such file below input\.media_root"),
        ("photos/a.png/b.png", r"^photos/a\.png/b\.png: cannot be read: Not a directory"),
        ("../secret.png", r"^\.\./secret\.png: lies outside input\.media_root"),
        ("../media-2/a.png", "lies outside"),
        ("{root}/../secret.png", "lies outside"),
        ("/etc/hostname", "lies outside"),
        ("out.png", r"^out\.png: lies outside"),
        ("loop.png", r"^loop\.png: cannot be read"),
        ("photos", "^photos: is a folder"),
        (".", "is a folder"),
        ("pipe.wav", "is no regular file"),
        ("a\0b", "cannot be read: .*embedded null"),
        ("x" * 5000, r"^x{200}…: cannot be read: File name too long"),
        ("empty.png", r"^empty\.png: is empty"),
        ("", "the path is empty"),
        (b"", "is empty"),
        (None, "null or missing"),
        (float("nan"), "null or missing"),
        ({"bytes": None, "path": None}, "null or missing"),
        ({}, "takes a path, a URL or bytes, not dict"),
        ({"url": "a.png"}, "takes a path, a URL or bytes, not dict"),
        (7, "takes a path, a URL or bytes, not int: 7"),
        ("s3://bucket/a.png", r"s3://bucket/a\.png: only http\(s\) URLs and files"),
        ("file:///etc/hostname", "only http"),
    ],
)
@pytest.mark.parametrize("form", ["data_url", "base64"])
def test_nothing_else_is_listed(root: Path, form: str, value: Any, reason: str) -> None:
    """Neither by .., nor by an absolute path, nor by a link; each message names file and reason."""
    value = value.replace("{root}", str(root)) if isinstance(value, str) else value
    with pytest.raises(MediaError, match=reason):
        rendered(root, f"{{{{ x | {form} }}}}", x=value)


def test_a_url_has_no_base64() -> None:
    """Nothing is fetched."""
    with pytest.raises(MediaError, match=r"base64: https://example\.com/a\.png is a URL"):
        rendered(None, "{{ x | base64 }}", x="https://example.com/a.png")


def test_without_a_media_root_no_file_is_sent() -> None:
    """The message says what to set; bytes and URLs need no root."""
    with pytest.raises(MediaError, match=r"a\.png is a file: set input\.media_root"):
        rendered(None, "{{ x | data_url }}", x="a.png")
    assert sent(None, "{{ x | data_url }}", x=PNG) == url("image/png", PNG)


def test_a_file_too_large_is_refused_before_it_is_read(root: Path) -> None:
    """The limit itself is allowed."""
    for size in (MAX_BYTES, MAX_BYTES + 1):
        with (root / f"{size}.bin").open("wb") as file:
            file.truncate(size)
    rendered(root, "{{ x | data_url }}", x=f"{MAX_BYTES}.bin")
    with pytest.raises(MediaError, match=r"50000001\.bin: has 50,000,001 bytes; at most 50,000,000"):
        rendered(root, "{{ x | data_url }}", x=f"{MAX_BYTES + 1}.bin")


def _longer(path: Path) -> None:
    path.write_bytes(PNG + b"more")


def _other(path: Path) -> None:
    path.write_bytes(bytes(len(PNG)))
    os.utime(path, ns=(2, 2))


def _linked(path: Path) -> None:
    before = path.stat()
    path.unlink()
    secret = path.parent.parent.parent / "secret.png"
    path.symlink_to(secret)
    os.utime(secret, ns=(before.st_atime_ns, before.st_mtime_ns))


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_longer, r"^photos/a\.png: the file has changed since it was listed; submit again$"),
        (_other, "the file has changed"),
        (_linked, "the file has changed"),
        (_piped, "the file has changed"),
        (Path.unlink, r"^photos/a\.png: .*submit again$"),
    ],
)
def test_what_is_sent_is_what_was_listed(root: Path, change: Any, reason: str) -> None:
    """A request hash stands for one content: a file that changed since, or became a link, is not sent."""
    value, refs = rendered(root, "{{ x | data_url }}", x="photos/a.png")
    change(root / "photos" / "a.png")
    with pytest.raises(MediaError, match=reason):
        replace(value, refs, content)


@pytest.mark.parametrize(
    "source",
    [
        "{{ (x | data_url)[:5] }}",
        "{{ (x | data_url)[:20] }}",
        "{{ (x | data_url)[-9:] }}",
        "{{ (x | data_url)[1:-1] }}",
        "{{ x | data_url | urlencode }}",
    ],
)
def test_a_marker_that_was_changed_is_not_sent(source: str) -> None:
    """A filter after ours works on the marker, so its result would be nonsense."""
    value, refs = rendered(None, source, x=PNG)
    with pytest.raises(MediaError, match="let that one be the last"):
        replace(value, refs, content)


@pytest.mark.parametrize("case", ["upper", "lower", "trim"])
def test_a_change_of_case_leaves_media_alone(case: str) -> None:
    """A prompt that is put into upper case as a whole keeps its pictures."""
    assert sent(None, f"{{{{ x | base64 | {case} }}}}", x=b"a") == "YQ=="


@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner), max_leaves=5))
def test_a_row_cannot_forge_a_marker(cell: Any) -> None:
    """Text of rows is never taken for media, and comes through unchanged beside some."""
    value, refs = rendered(None, {"a": "{{ cell }}", "b": "{{ x | base64 }}"}, cell=cell, x=b"a")
    assert replace(value, refs, content) == {"a": cell, "b": "YQ=="}


def test_a_marker_stands_for_one_thing_only() -> None:
    """One that was collected by another rendering is never taken for a picture of this one."""
    value, _refs = rendered(None, "{{ x | base64 }}", x=b"a")
    _value, others = rendered(None, "{{ x | base64 }}", x=b"b")
    with pytest.raises(KeyError):
        replace(value, others, content)


def test_two_threads_collect_their_own() -> None:
    """Renderings at the same time do not see each other's media."""
    media = Media(None)
    prepared = Templates(Path(), data_url=media.data_url, base64=media.base64).text("{{ x | base64 }}")
    both = threading.Barrier(2, timeout=5)
    found: dict[bytes, list[bytes | None]] = {}

    def render(data: bytes) -> None:
        with collecting() as refs:
            both.wait()
            prepared({"x": data})
            both.wait()
        found[data] = [ref.data for ref in refs]

    threads = [threading.Thread(target=render, args=(data,)) for data in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {b"a": [b"a"], b"b": [b"b"]}


def test_a_later_rendering_adds_to_what_was_collected() -> None:
    """A conversation's turns share one list."""
    media = Media(None)
    with collecting() as refs:
        first = media.base64(b"a")
    with collecting(refs) as same:
        second = media.base64(b"b")
    assert same is refs
    assert replace(first + second, refs, content) == "YQ==Yg=="


def test_outside_of_collecting_a_filter_is_a_mistake() -> None:
    """Its marker would be sent as it is."""
    with pytest.raises(RuntimeError, match=r"outside `collecting`"):
        Media(None).base64(b"a")


def test_without_media_nothing_is_copied() -> None:
    """Most rows have none, and pay nothing."""
    value = {"a": ["text"]}
    assert replace(value, [], lambda ref: ref.label) is value


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n", "", "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "", "image/jpeg"),
        (b"GIF89a", "", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "", "audio/wav"),
        (b"RIFF\x24\0\0\0AVI ", "a.avi", "application/octet-stream"),
        (b"BM\x46\0\0\0\0\0\0\0\x36", "", "image/bmp"),
        (b"BMW and others", "cars.txt", "text/plain"),
        (b"II*\0\x08", "", "image/tiff"),
        (b"MM\0*\0", "", "image/tiff"),
        (b"ID3\x04", "", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "", "audio/mpeg"),
        (b"\xff\xf3\x40\xc0", "", "audio/mpeg"),
        (b"\xff\xfeU\0T\0", "utf16.txt", "text/plain"),
        (b"fLaC", "", "audio/flac"),
        (b"OggS", "", "audio/ogg"),
        (b"%PDF-1.7", "", "application/pdf"),
        (b"\0\0\0\x18ftypmp42", "", "video/mp4"),
        (b"\0\0\0\x18ftypM4A ", "", "audio/mp4"),
        (b"\0\0\0\x18ftypheic", "", "image/heic"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "", "video/webm"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x88matroska", "", "video/x-matroska"),
        (b"a,b\n", "TABLE.CSV", "text/csv"),
        (
            b"PK\x03\x04",
            "report.docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (b"anything", "no-suffix", "application/octet-stream"),
        (b"", "", "application/octet-stream"),
    ],
)
def test_the_first_bytes_say_what_it_is(data: bytes, name: str, kind: str) -> None:
    """The suffix is asked only where they do not."""
    assert media_type(data, name) == kind
