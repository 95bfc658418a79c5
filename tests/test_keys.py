"""When two jobs, and two results, are the same."""

from __future__ import annotations

from pathlib import Path

from hydra import initialize_config_dir

from bcadv import keys
from bcadv.keys import result_key
from bcadv.run import compose_job, conf_dir, settings
from bcadv.store.code import PACKAGE


def test_what_counts_for_no_result_is_still_there() -> None:
    """A file that has got another name counts again, and all jobs are done once more."""
    gone = {name for name in keys._NOT_MEASURING if not (PACKAGE / name).exists()}
    assert gone <= {"conf"}  # stands beside the package in a checkout


def test_a_dangling_link_among_the_images_stops_no_job(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.png").symlink_to(tmp_path / "nowhere.png")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = settings(compose_job(["data=folder", f"data.root={tmp_path}"]))
    before = result_key(raw)
    keys._files.cache_clear()
    (tmp_path / "nowhere.png").touch()
    assert result_key(raw) != before
