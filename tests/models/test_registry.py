"""Published weights: fetched once, checked, and named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torchxrayvision

from bcadv.errors import BcadvError
from bcadv.models import weights
from bcadv.models.registry import REGISTRY, Source
from bcadv.models.weights import fetch_weights, load_state_dict
from tests.http_server import Served, Server
from tests.models.test_weights import assert_equal, network, saved


def test_the_registry_agrees_with_torchxrayvision() -> None:
    published = {
        name: entry["weights_url"]
        for name, entry in torchxrayvision.models.model_urls.items()
        if name.startswith("densenet121-")
    }
    assert {name: source.url for name, source in REGISTRY.items()} == published


@pytest.fixture
def published(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small network published under a registered name."""
    content = saved(network(), tmp_path / "net.pt", False).read_bytes()
    url = server.offer("/net.pt", Served(content))
    source = Source(url, hashlib.sha256(content).hexdigest(), len(content))
    monkeypatch.setattr(weights, "REGISTRY", {"densenet121-res224-all": source})
    return content


def test_weights_are_fetched_once_and_read(
    published: bytes, server: Server, tmp_path: Path
) -> None:
    path = fetch_weights("densenet121-res224-all", tmp_path / "cache")
    assert path.read_bytes() == published
    assert fetch_weights("densenet121-res224-all", tmp_path / "cache") == path
    assert len(server.requests) == 1
    assert_equal(load_state_dict(path), network().state_dict())


def test_a_changed_cache_is_noticed_at_the_next_load(
    published: bytes, server: Server, tmp_path: Path
) -> None:
    path = fetch_weights("densenet121-res224-all", tmp_path / "cache")
    path.write_bytes(published[:-1] + b"x")
    server.files["/net.pt"].statuses = [404]
    with pytest.raises(BcadvError, match=r"404.*By hand") as failure:
        fetch_weights("densenet121-res224-all", tmp_path / "cache")
    for part in (str(path), hashlib.sha256(published).hexdigest(), server.url("/net.pt")):
        assert part in str(failure.value)
    fetch_weights("densenet121-res224-all", tmp_path / "cache")
    assert path.read_bytes() == published


def test_a_file_put_there_by_hand_needs_no_server(
    published: bytes, server: Server, tmp_path: Path
) -> None:
    path = fetch_weights("densenet121-res224-all", tmp_path / "one")
    other = tmp_path / "two" / path.name
    other.parent.mkdir()
    other.write_bytes(published)
    server.requests.clear()
    assert fetch_weights("densenet121-res224-all", tmp_path / "two") == other
    assert server.requests == []


def test_a_substituted_file_is_refused(published: bytes, server: Server, tmp_path: Path) -> None:
    del published
    evil = saved(network(seed=1), tmp_path / "evil.pt", False).read_bytes()
    url = server.offer("/evil.pt", Served(evil))
    with pytest.raises(BcadvError, match="expected"):
        fetch_weights("densenet121-res224-all", tmp_path / "cache", url=url)
    assert not list((tmp_path / "cache").glob("*.pt"))
    mine = hashlib.sha256(evil).hexdigest()
    assert fetch_weights("densenet121-res224-all", tmp_path / "cache", url=url, sha256=mine)


def test_weights_without_a_known_checksum_need_one(server: Server, tmp_path: Path) -> None:
    url = server.offer("/rsna.pt", Served(b"weights"))
    with pytest.raises(BcadvError, match=r"No checksum of densenet121-res224-rsna.*weights_sha256"):
        fetch_weights("densenet121-res224-rsna", tmp_path, url=url)
    assert server.requests == []
    mine = hashlib.sha256(b"weights").hexdigest().upper()
    assert fetch_weights("densenet121-res224-rsna", tmp_path, url=url, sha256=mine).is_file()


@pytest.mark.parametrize("name", ["densenet121-res224-al", "densenet-all", "all", ""])
def test_an_unknown_name_lists_near_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(BcadvError, match=r"unknown; did you mean .*densenet121-res224-all"):
        fetch_weights(name, tmp_path)


def test_the_cache_follows_the_environment(
    published: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del published
    monkeypatch.setenv("BCADV_CACHE", str(tmp_path / "mine"))
    path = fetch_weights("densenet121-res224-all")
    assert path.parent == tmp_path / "mine" / "weights"
    monkeypatch.delenv("BCADV_CACHE")
    assert weights.default_cache_dir() == Path.home() / ".cache" / "bcadv" / "weights"


def test_without_a_home_folder_the_cache_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> str:
        raise KeyError("uid not found")

    for name in ("BCADV_CACHE", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert weights.default_cache_dir().parents[1] == tmp_path
    monkeypatch.setenv("BCADV_CACHE", "~/mine")
    with pytest.raises(BcadvError, match=r"BCADV_CACHE=~/mine .*whole path"):
        weights.default_cache_dir()


def test_weights_of_ones_own_need_an_address_and_a_checksum(server: Server, tmp_path: Path) -> None:
    url, mine = server.offer("/own.pt", Served(b"own")), hashlib.sha256(b"own").hexdigest()
    assert fetch_weights("own-1.0", tmp_path, url=url, sha256=mine).read_bytes() == b"own"
    for more in ({"url": url}, {"sha256": mine}):
        with pytest.raises(BcadvError, match=r"own-1\.0 is unknown.*weights_url= and"):
            fetch_weights("own-1.0", tmp_path, **more)
    with pytest.raises(BcadvError, match=r"\.\./own names the file"):
        fetch_weights("../own", tmp_path, url=url, sha256=mine)
