"""Archives of tar, unpacked by every Python that batchrun runs on."""

from __future__ import annotations

import tarfile
from pathlib import Path


def untar(archive: Path, folder: Path) -> None:
    """Unpack an archive of our own making.

    Python before 3.11.4 knows no filters (PEP 706), and 3.12 warns where none is named.
    """
    with tarfile.open(archive) as opened:
        opened.extraction_filter = getattr(tarfile, "tar_filter", None)
        opened.extractall(folder)
