"""What a kill can leave in a run folder that nothing refers to."""

from __future__ import annotations

import shutil
from pathlib import Path

from batchrun.run_folder.folder import FRAMES, RunFolder
from batchrun.run_folder.room import SPARE_NAME


def sweep(run: RunFolder, *, keep: str | None = None) -> None:
    """Remove unfinished files, the spare file, what was said to and by a submit that is gone, and generations
    but the published one and the one before it; of frames that were the input all but `keep`, if it is given.

    For the holder of the lock alone, before it writes anything: a generation newer than the published one is
    then one whose publication was cut short.
    """
    spare = run.checkpoint_path.glob(SPARE_NAME)
    for path in run.path.glob(FRAMES) if keep is not None else ():
        if path != Path(keep or ""):
            _remove(path)
    run.pause.unlink(missing_ok=True)
    run.live.unlink(missing_ok=True)
    for path in [*run.path.glob("*.tmp"), *run.checkpoint_path.glob("*.tmp"), *spare]:
        if path.stem != run.identity_path.name:  # a submit that waits for the lock may be writing that one
            _remove(path)
    if not (published := run.published):
        return
    generations = [path for path in run.generations.iterdir() if path.name.isdigit()]
    before = sorted(path.name for path in generations if path.name < published)[-1:]
    for path in generations:
        if path.name not in (published, *before):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
