"""Pre-trained weights: which there are, where they come from, and how to read them safely.

torchxrayvision publishes its networks as pickles of whole modules, and a pickle can run any code
while it is read. So nothing of such a file is believed here: its checksum is compared first, and
reading it builds only inert records of what the pickle *says*, from a short list of class names.
No class that the file names is ever imported, and no function that it names is ever called.
"""

from __future__ import annotations

import math
import os
import pickle
import pickletools
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from bcadv.errors import BcadvError
from bcadv.fetch import download
from bcadv.models.registry import REGISTRY, find_source


def default_cache_dir() -> Path:
    """Returns ``$BCADV_CACHE/weights``, or ``~/.cache/bcadv/weights`` where that is not set.

    Without a home folder, as in a container that runs under a number no user has, it is a folder
    for temporary files: what lies there is checked before it is used.

    Raises:
        BcadvError: ``$BCADV_CACHE`` begins with a home folder that is not known.
    """
    named = os.environ.get("BCADV_CACHE")
    try:
        cache = Path(named).expanduser() if named else Path.home() / ".cache" / "bcadv"
    except RuntimeError:
        if named:
            raise BcadvError(
                f"BCADV_CACHE={named} names a home folder that is not known: give a whole path."
            ) from None
        cache = Path(tempfile.gettempdir()) / f"bcadv-{os.getuid()}"
    return cache / "weights"


def fetch_weights(
    name: str,
    cache_dir: Path | None = None,
    *,
    sha256: str | None = None,
    url: str | None = None,
) -> Path:
    """Returns the path of a set of weights, fetched once and checked every time.

    Args:
        name: a key of `REGISTRY`; with `sha256` and `url` any other as well.
        cache_dir: folder that keeps the files; ``None`` is `default_cache_dir`.
        sha256: checksum to expect instead of the registered one; needed where none is registered.
        url: another address to fetch from.

    Raises:
        BcadvError: if the name is unknown, no checksum is known, or the file can't be had.
    """
    source = find_source(name, sha256=sha256, url=url, registry=REGISTRY)
    assert source.sha256 is not None
    folder = cache_dir if cache_dir is not None else default_cache_dir()
    # The checksum in the name lets files that were pinned differently stand side by side.
    path = folder / f"{name}-{source.sha256[:12]}.pt"
    download(source.url, path, sha256=source.sha256, size=source.size)
    return path


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a file made by ``torch.save`` without running anything in it.

    Both file formats are read (zip, and the pickles before torch 1.6), and both contents: a plain
    state dict, or a whole pickled network of the torchxrayvision or torchvision DenseNet classes.

    Args:
        path: the file.

    Returns:
        Name -> tensor on the CPU, each with memory of its own, named as ``Module.state_dict`` does.

    Raises:
        BcadvError: if the file is damaged, no such file, or names a class not on the list.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            root, storages = _read_zip(file) if zipped else _read_legacy(file)
        return {name: _tensor(name, node, storages) for name, node in _entries(root)}
    except (BcadvError, FileNotFoundError) as error:
        raise BcadvError(f"Cannot read weights from {path}: {error}") from error
    except Exception as error:
        # What a hostile or damaged pickle can raise has no bound, and none of it is ours.
        raise BcadvError(
            f"Cannot read weights from {path}: it is damaged or was not made by torch.save "
            f"({type(error).__name__}: {error}). Delete it to fetch it again."
        ) from error


class _Node:
    """What a pickle says about one object: which global made it, from what, with which state.

    A class of its own is derived for each global, since the unpickler insists on real classes.
    """

    origin: str
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> _Node:
        node = super().__new__(cls)
        node.args, node.state = args, {}
        return node

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.state = state


@dataclass(frozen=True)
class _Storage:
    """A reference to the raw numbers behind tensors."""

    key: str
    dtype: torch.dtype


_DTYPES = {
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
_REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
_REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
_MODULES = frozenset(
    {
        *(
            f"{package}.{name}"
            for package in ("torchxrayvision.models", "torchvision.models.densenet")
            for name in ("DenseNet", "_DenseBlock", "_DenseLayer", "_Transition")
        ),
        "torch.nn.modules.activation.ReLU",
        "torch.nn.modules.batchnorm.BatchNorm2d",
        "torch.nn.modules.container.Sequential",
        "torch.nn.modules.conv.Conv2d",
        "torch.nn.modules.linear.Linear",
        "torch.nn.modules.pooling.AvgPool2d",
        "torch.nn.modules.pooling.MaxPool2d",
    }
)
# What else hangs on a network (labels, thresholds, the backend object of early torch versions):
# read past, never interpreted.
_BYSTANDERS = frozenset(
    {
        "_codecs.encode",
        "torch.nn.backends.thnn._get_thnn_function_backend",
        "numpy.dtype",
        "numpy.ndarray",
        *(
            f"numpy.{core}.multiarray.{name}"
            for core in ("core", "_core")
            for name in ("_reconstruct", "scalar")
        ),
    }
)
_ALLOWED = _MODULES | _BYSTANDERS | _DTYPES.keys() | {_REBUILD_TENSOR, _REBUILD_PARAMETER}
_PLAIN: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": OrderedDict,
    "builtins.set": set,
    "__builtin__.set": set,
    "torch.Size": tuple,
}


class _InertUnpickler(pickle.Unpickler):
    """Builds `_Node` where the pickle asks for an object."""

    def __init__(self, file: IO[bytes]) -> None:
        _check_memo(file)
        super().__init__(file, encoding="utf-8")
        self._classes: dict[str, type[_Node]] = {}
        self.dtypes: dict[str, torch.dtype] = {}

    def find_class(self, module: str, name: str) -> Any:
        origin = f"{module}.{name}"
        if origin in _PLAIN:
            return _PLAIN[origin]
        if origin not in _ALLOWED:
            raise BcadvError(
                f"it is a pickle with a foreign class, {origin}; it was not run. Weights must be "
                "a state dict or a torchxrayvision DenseNet."
            )
        if origin not in self._classes:
            self._classes[origin] = type(name, (_Node,), {"origin": origin})
        return self._classes[origin]

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            case ("storage", kind, str(key), _, int(), *view) if view in ([], [None]):
                self.dtypes[key] = _DTYPES[kind.origin]
                return _Storage(key, self.dtypes[key])
            # Old files wrap each module class together with its source code.
            case ("module", kind, _, _):
                return kind
        raise BcadvError(f"its pickle refers to {pid!r:.200}, which is neither storage nor class.")


def _check_memo(file: IO[bytes]) -> None:
    """Refuses a pickle that numbers what it remembers higher than it is long.

    The unpickler makes room up to the highest number, which one wrong byte puts at billions. An
    honest writer counts from 0, and needs two bytes for each.
    """
    begin = file.tell()
    for opcode, number, place in pickletools.genops(file):
        numbered = opcode.name in ("PUT", "BINPUT", "LONG_BINPUT")
        if numbered and int(number or 0) > (place or 0) - begin:
            raise BcadvError("its pickle is damaged; delete it to fetch it again.")
    file.seek(begin)


def _read_zip(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        if "data.pkl" not in names:
            raise BcadvError("it is a zip file, but none made by torch.save.")
        # torch.save never compresses, so honest members fit into the file side by side.
        if sum(info.file_size for info in archive.infolist()) > _length(file):
            raise BcadvError("its members claim more bytes than the file has.")
        if "byteorder" in names and archive.read(names["byteorder"]) != b"little":
            raise BcadvError("it was saved on a big-endian machine; save it on another one.")
        root = _InertUnpickler(BytesIO(archive.read(names["data.pkl"]))).load()
        storages = {
            inner.removeprefix("data/"): archive.read(name)
            for inner, name in names.items()
            if inner.startswith("data/")
        }
    return root, storages


_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def _read_legacy(file: IO[bytes]) -> tuple[Any, dict[str, bytes]]:
    """Reads the format before torch 1.6: five pickles, then each storage behind its length."""
    file.seek(0)
    if _InertUnpickler(file).load() != _LEGACY_MAGIC:
        raise BcadvError("it was not made by torch.save.")
    protocol, system = _InertUnpickler(file).load(), _InertUnpickler(file).load()
    if protocol != _LEGACY_PROTOCOL or not system["little_endian"]:
        raise BcadvError("it was saved by an unknown version of torch or a big-endian machine.")
    reader = _InertUnpickler(file)
    root = reader.load()
    storages = {}
    for key in _InertUnpickler(file).load():
        length = int.from_bytes(file.read(8), "little") * reader.dtypes[key].itemsize
        if length > _length(file) - file.tell():
            raise BcadvError("it ends in the middle of a tensor; delete it to fetch it again.")
        storages[key] = file.read(length)
    return root, storages


def _length(file: IO[bytes]) -> int:
    return os.fstat(file.fileno()).st_size


def _entries(root: Any) -> Iterator[tuple[str, Any]]:
    """Yields the parameters and buffers in the order and under the names of ``state_dict``."""
    if isinstance(root, dict):
        yield from root.items()
        return
    seen: set[int] = set()

    def walk(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        if not isinstance(node, _Node) or node.origin not in _MODULES or id(node) in seen:
            raise BcadvError(
                f"it holds neither a state dict nor a network; {prefix or 'its root'!r} is a "
                f"{getattr(node, 'origin', type(node).__name__)} out of place."
            )
        seen.add(id(node))
        state = node.state
        for name, parameter in state["_parameters"].items():
            if parameter is not None:
                yield prefix + name, parameter
        for name, buffer in state["_buffers"].items():
            # Networks saved before torch 1.6 know no buffers that stay out of the state dict.
            if buffer is not None and name not in state.get("_non_persistent_buffers_set", ()):
                yield prefix + name, buffer
        for name, child in state["_modules"].items():
            if child is not None:
                yield from walk(child, f"{prefix}{name}.")

    yield from walk(root, "")


def _tensor(name: Any, node: Any, storages: Mapping[str, bytes]) -> Tensor:
    if isinstance(node, _Node) and node.origin == _REBUILD_PARAMETER:
        node = node.args[0]
    if not isinstance(node, _Node) or node.origin != _REBUILD_TENSOR or not isinstance(name, str):
        raise BcadvError(
            f"its entry {name!r:.80} is no tensor; give a plain state dict or a network."
        )
    storage, offset, size, stride, *_ = node.args
    raw = bytearray(storages[storage.key])
    flat = (
        torch.frombuffer(raw, dtype=storage.dtype) if raw else torch.empty(0, dtype=storage.dtype)
    )
    # A stride of zero would let a few bytes claim a tensor of any size.
    if math.prod(size) > flat.numel():
        raise BcadvError(f"its entry {name!r} claims more numbers than are stored.")
    value = flat.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)
    if value.is_floating_point() and not bool(value.isfinite().all()):
        # Trained with, they would look like a training that diverged.
        raise BcadvError(f"its entry {name!r} holds numbers that are not finite.")
    return value
