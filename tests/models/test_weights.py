"""Weights are read without running anything in the file, and equal what torch itself would read."""

from __future__ import annotations

import io
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
import torch.nn.backends.thnn
import torchxrayvision
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn
from torchvision.models.densenet import DenseNet as TorchvisionDenseNet

from bcadv.errors import BcadvError
from bcadv.models import weights
from bcadv.models.weights import load_state_dict

TINY = {"growth_rate": 4, "block_config": (1, 2), "num_init_features": 8, "bn_size": 2}
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def network(seed: int = 0) -> Any:
    """A small torchxrayvision network whose every number differs from a fresh one's."""
    torch.manual_seed(seed)
    net = torchxrayvision.models.DenseNet(**TINY)
    net.op_threshs = torch.rand(18)
    for value in net.state_dict().values():
        value.add_(torch.rand(()).to(value.dtype) if value.is_floating_point() else 7)
    return net.eval()


def saved(content: object, path: Path, zipped: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
        assert not found[name].requires_grad


# --- reading ---------------------------------------------------------------------------------


@FORMATS
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_whole_network_gives_its_state_dict_and_its_features(
    tmp_path: Path, zipped: bool
) -> None:
    net = network()
    found = load_state_dict(saved(net, tmp_path / "net.pt", zipped))
    assert_equal(found, net.state_dict())
    other = network(seed=1)
    image = torch.rand(2, 1, 64, 64) * 2048 - 1024
    assert not torch.equal(other.features(image), net.features(image))
    other.load_state_dict(found)
    assert torch.equal(other.features(image), net.features(image))


@FORMATS
def test_a_torchvision_network_is_read_too(tmp_path: Path, zipped: bool) -> None:
    net = TorchvisionDenseNet(**TINY, num_classes=2)
    assert_equal(load_state_dict(saved(net, tmp_path / "net.pt", zipped)), net.state_dict())


@FORMATS
def test_a_plain_state_dict_is_read(tmp_path: Path, zipped: bool) -> None:
    expected = network().state_dict()
    assert_equal(load_state_dict(saved(expected, tmp_path / "net.pt", zipped)), expected)


@FORMATS
def test_what_a_network_carries_besides_its_weights_is_read_past(
    tmp_path: Path, zipped: bool
) -> None:
    net = network()
    net.labels = np.array(["Mass", "Hernia"], dtype=object)
    net.best = np.float64(0.5)
    net.size = torch.Size([1, 2])
    net.register_buffer("scratch", torch.ones(2), persistent=False)
    assert_equal(load_state_dict(saved(net, tmp_path / "net.pt", zipped)), net.state_dict())


def test_a_network_of_an_early_torch_is_read(tmp_path: Path) -> None:
    net = network()
    expected = net.state_dict()
    for module in net.modules():
        del module._non_persistent_buffers_set
        module._backend = Call(torch.nn.backends.thnn._get_thnn_function_backend)
    assert_equal(load_state_dict(saved(net, tmp_path / "net.pt", False)), expected)


@FORMATS
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_view_of_every_dtype_survives(tmp_path: Path, zipped: bool, data: Any) -> None:
    dtype = data.draw(st.sampled_from(list(weights._DTYPES.values())))
    shape = data.draw(st.lists(st.integers(0, 4), max_size=3))
    base = (torch.rand(6, *shape) * 9).to(dtype)
    view = base[data.draw(st.integers(0, 5))]
    if data.draw(st.booleans()):
        view = view.permute(tuple(reversed(range(view.dim()))))
    expected = {"view": view, "sibling": base[0], "parameter": nn.Parameter(base, False)}
    found = load_state_dict(saved(expected, tmp_path / "t.pt", zipped))
    assert_equal(found, expected)
    assert found["view"].is_contiguous()


def test_tensors_do_not_share_memory(tmp_path: Path) -> None:
    base = torch.zeros(3)
    found = load_state_dict(saved({"a": base, "b": base}, tmp_path / "t.pt", True))
    found["a"].add_(1)
    assert found["b"].sum() == 0


# --- files that mean harm --------------------------------------------------------------------


class Call:
    """Pickles as a call: the unpickler would run it."""

    def __init__(self, function: Any, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@FORMATS
@pytest.mark.parametrize("where", ["root", "entry", "attribute", "buffer"])
def test_a_foreign_class_is_named_and_not_run(tmp_path: Path, zipped: bool, where: str) -> None:
    marker = tmp_path / "marker"
    evil = Call(os.system, f"touch {marker}")
    net = network()
    net._buffers["evil"] = evil if where == "buffer" else None
    net.note = evil if where == "attribute" else ""
    content = {"root": evil, "entry": {"w": torch.ones(1), "evil": evil}}.get(where, net)
    path = saved(content, tmp_path / "evil.pt", zipped)
    with pytest.raises(BcadvError, match=r"pickle with a foreign class, (posix|nt)\.system"):
        load_state_dict(path)
    assert not marker.exists()
    # The file is not harmless by accident: torch's own loader runs it.
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize(
    "function",
    [eval, getattr, __import__, subprocess.Popen, torch.load, torch.hub.load, nn.Module, type],
)
def test_only_listed_globals_pass(tmp_path: Path, function: Any) -> None:
    with pytest.raises(BcadvError, match="foreign class"):
        load_state_dict(saved(Call(function, "1"), tmp_path / "evil.pt", False))


def with_part(part: int, content: object, place: Path) -> Path:
    """A file of the old format in which one of the five pickles at its head is another one."""
    good = saved({"w": torch.ones(2)}, place / "good.pt", False).read_bytes()
    stream, pieces = io.BytesIO(good), []
    for _ in range(5):
        start = stream.tell()
        weights._InertUnpickler(stream).load()
        pieces.append(good[start : stream.tell()])
    pieces[part] = pickle.dumps(content, protocol=2)
    path = place / "other.pt"
    path.write_bytes(b"".join(pieces) + good[stream.tell() :])
    return path


@pytest.mark.parametrize("part", [0, 1, 2, 3, 4])
def test_every_pickle_of_the_old_format_is_guarded(tmp_path: Path, part: int) -> None:
    marker = tmp_path / "marker"
    path = with_part(part, Call(os.system, f"touch {marker}"), tmp_path)
    with pytest.raises(BcadvError, match="foreign class"):
        load_state_dict(path)
    assert not marker.exists()


@pytest.mark.parametrize(("part", "content"), [(1, 1002), (2, {"little_endian": False})])
def test_unknown_variants_of_the_old_format_are_refused(
    tmp_path: Path, part: int, content: object
) -> None:
    with pytest.raises(BcadvError, match="unknown version of torch or a big-endian machine"):
        load_state_dict(with_part(part, content, tmp_path))


def test_a_storage_of_the_old_format_cannot_claim_all_memory(tmp_path: Path) -> None:
    path = saved({"w": torch.ones(2)}, tmp_path / "t.pt", False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-16] + (2**40).to_bytes(8, "little") + whole[-8:])
    with pytest.raises(BcadvError, match="ends in the middle of a tensor"):
        load_state_dict(path)


def test_nothing_of_a_network_class_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(network(), tmp_path / "net.pt", True)

    def ran(*_: object) -> None:
        pytest.fail("a class of the file was used")

    for name in ("__setstate__", "__init__", "__setattr__"):
        monkeypatch.setattr(nn.Module, name, ran)
    monkeypatch.setattr(torch._utils, "_rebuild_tensor_v2", ran)
    assert load_state_dict(path)


def test_weights_are_read_without_torchxrayvision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network()
    path = saved(net, tmp_path / "net.pt", True)
    for name in [name for name in sys.modules if name.startswith("torchxrayvision")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert_equal(load_state_dict(path), net.state_dict())


def test_a_stride_of_zero_cannot_claim_all_memory(tmp_path: Path) -> None:
    huge = torch.zeros(1).expand(10**6, 10**6)
    with pytest.raises(BcadvError, match="claims more numbers than are stored"):
        load_state_dict(saved({"w": huge}, tmp_path / "t.pt", True))


@pytest.mark.parametrize(
    ("member", "content", "said"),
    [
        ("data/0", bytes(8), "claims more numbers than are stored"),
        ("byteorder", b"big", "big-endian"),
    ],
)
def test_a_zip_file_with_another_member_is_refused(
    tmp_path: Path, member: str, content: bytes, said: str
) -> None:
    path = saved({"w": torch.ones(4)}, tmp_path / "t.pt", True)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    assert f"t/{member}" in members
    with zipfile.ZipFile(path, "w") as archive:
        for name, original in members.items():
            archive.writestr(name, content if name == f"t/{member}" else original)
    with pytest.raises(BcadvError, match=said):
        load_state_dict(path)


def test_a_compressed_bomb_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data.pkl", bytes(10_000_000))
    with pytest.raises(BcadvError, match="claim more bytes than the file has"):
        load_state_dict(path)


def test_a_network_inside_itself_is_refused(tmp_path: Path) -> None:
    net = network()
    net.features._modules["again"] = net
    with pytest.raises(BcadvError, match="out of place"):
        load_state_dict(saved(net, tmp_path / "net.pt", True))


@pytest.mark.parametrize(
    "content", [3, [torch.ones(1)], {"w": 1.0}, {3: torch.ones(1)}, nn.ReLU, torch.ones(1)]
)
def test_other_contents_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(BcadvError, match=r"state dict|damaged"):
        load_state_dict(saved(content, tmp_path / "t.pt", True))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_numbers_that_are_not_finite_are_refused(
    tmp_path: Path, number: float, dtype: torch.dtype
) -> None:
    content = {"features.conv0.weight": torch.tensor([[1.0, number]], dtype=dtype)}
    with pytest.raises(BcadvError, match=r"conv0\.weight' holds numbers that are not finite"):
        load_state_dict(saved(content, tmp_path / "t.pt", True))


@FORMATS
def test_a_cut_file_is_damaged_wherever_it_is_cut(tmp_path: Path, zipped: bool) -> None:
    path = saved(network(), tmp_path / "net.pt", zipped)
    whole = path.read_bytes()
    for length in (0, 3, 4, 100, len(whole) // 2, len(whole) - 20, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BcadvError, match="Cannot read weights from"):
            load_state_dict(path)


@FORMATS
def test_a_wrong_number_in_its_pickle_claims_no_memory(tmp_path: Path, zipped: bool) -> None:
    """Of those under which a pickle remembers something: they tell how much to make room for."""
    path = saved({"w": torch.ones(3)}, tmp_path / "t.pt", zipped)
    members = {"": path.read_bytes()}
    if zipped:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    [kept] = [name for name in members if name == "" or name.endswith("/data.pkl")]
    whole = members[kept]
    places = [place for place, byte in enumerate(whole) if byte == pickle.BINPUT[0]]
    assert len(places) > 5
    # Of the number's four bytes the highest stays small: a broken reader is to fail, no more.
    wrong = pickle.LONG_BINPUT + bytes(3) + b"\x01"
    tracemalloc.start()
    try:
        for place in places:
            members[kept] = whole[:place] + wrong + whole[place + len(wrong) :]
            if zipped:
                with zipfile.ZipFile(path, "w") as archive:
                    for name, content in members.items():
                        archive.writestr(name, content)
            else:
                path.write_bytes(members[kept])
            with pytest.raises(BcadvError):
                load_state_dict(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), zipped=st.booleans())
def test_garbled_files_never_end_in_another_error(tmp_path: Path, seed: int, zipped: bool) -> None:
    draw = random.Random(seed)
    content = bytearray(saved({"w": torch.ones(3)}, tmp_path / "t.pt", zipped).read_bytes())
    for _ in range(draw.randint(1, 8)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    (tmp_path / "t.pt").write_bytes(content)
    with suppress(BcadvError):
        assert all(isinstance(t, Tensor) for t in load_state_dict(tmp_path / "t.pt").values())


def test_other_zip_files_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with pytest.raises(BcadvError, match="No such file"):
        load_state_dict(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme/text.txt", "hello")
    with pytest.raises(BcadvError, match=r"zip file, but none made by torch\.save"):
        load_state_dict(path)
    path.write_bytes(pickle.dumps({"w": 1}))
    with pytest.raises(BcadvError, match=r"not made by torch\.save"):
        load_state_dict(path)
