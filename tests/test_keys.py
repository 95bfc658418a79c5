"""When two jobs, and two results, are the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from bcadv import keys
from bcadv.keys import result_key
from bcadv.run import compose_job, conf_dir, settings
from bcadv.store.code import PACKAGE


def test_what_counts_for_no_result_is_still_there() -> None:
    """A file that has got another name counts again, and all jobs are done once more."""
    gone = {name for name in keys._NOT_MEASURING if not (PACKAGE / name).exists()}
    assert gone <= {"conf"}  # stands beside the package in a checkout


def test_other_images_or_fold_lists_give_other_results(tmp_path: Path) -> None:
    image, fold = tmp_path / "images" / "a" / "1.png", tmp_path / "folds" / "dsfold1.txt"
    for file in (image, fold):
        file.parent.mkdir(parents=True)
        file.write_text("as it was")
        os.utime(file, (1, 1))
    place = [f"data.root={tmp_path / 'images'}", f"data.folds_dir={fold.parent}"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = settings(compose_job(["data=breakhis", *place]))
    names = [result_key(raw)]
    for file in (image, fold):
        os.utime(file, (2, 2))
        keys._files.cache_clear()
        names.append(result_key(raw))
    assert len(set(names)) == 3


def test_other_code_gives_other_results(monkeypatch: pytest.MonkeyPatch) -> None:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = settings(compose_job([]))
    before = result_key(raw)
    monkeypatch.setattr(keys, "measuring_code", lambda: "other")
    assert result_key(raw) != before


def test_a_dangling_link_among_the_images_stops_no_job(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.png").symlink_to(tmp_path / "nowhere.png")
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = settings(compose_job(["data=folder", f"data.root={tmp_path}"]))
    before = result_key(raw)
    keys._files.cache_clear()
    (tmp_path / "nowhere.png").touch()
    assert result_key(raw) != before


def test_a_table_counts_by_its_content_and_a_job_by_its_place(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("labels.csv", "more.csv", "train.txt")]
    for file in files:
        file.write_text("as it was")
        os.utime(file, (1, 1))
    table, more, train = map(str, files)
    options = [
        *("data=table", f"data.root={tmp_path}", f"data.table={table}", f"data.metadata={more}"),
        f"data.lists={{train: {train}}}",
    ]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = settings(compose_job(options))
    names = [result_key(raw)]
    for file in files:
        file.write_text("another")
        names.append(result_key(raw))
    assert len(set(names)) == 4
    for option in ("table", "metadata", "lists"):
        copied = {"train": f"{tmp_path}/copy"} if option == "lists" else f"{tmp_path}/copy"
        moved = {**raw, "data": {**raw["data"], option: copied}}
        assert keys.job_key(moved) != keys.job_key(raw)
        assert keys._settings(moved) == keys._settings(raw)


@pytest.mark.parametrize("name", ["split.csv", "set.npz"])
def test_a_split_of_ones_own_and_a_file_of_images_count_by_their_content(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    file.write_text("as it was")
    os.utime(file, (1, 1))
    options = ["data=medmnist", f"data.root={file}"]
    if name == "split.csv":
        options = [f"data.split={file}"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        raw = settings(compose_job(options))
    before = result_key(raw)
    assert result_key(raw) == before
    os.utime(file, (2, 2))
    assert result_key(raw) != before
