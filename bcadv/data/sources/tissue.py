"""Painting one image that looks like breast tissue under haematoxylin and eosin (H&E).

Nothing here is measured or learned: shapes and numbers were set by eye beside real images, to give
an experiment something to run on where no real data may be had. No medical conclusion can rest on
it. The two classes differ in architecture and in the size, shape and crowding of nuclei, as a
pathologist would describe them, and *not* in mean colour, which `_develop` equalises.

Lengths are in units: one unit is one pixel of an image of height 92. A larger image shows both a
larger field and finer detail, so that nuclei stay several pixels wide in small images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from bcadv.errors import BcadvError

VERSION = 1
"""Raised whenever the same arguments give other pixels; part of the name of a written tree."""

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

# Optical densities of (red, green, blue): between Ruifrok & Johnston 2001 and Macenko et al. 2009.
_HAEMATOXYLIN = np.array([0.64, 0.70, 0.34])
_EOSIN = np.array([0.17, 0.88, 0.42])


@dataclass(frozen=True)
class Stain:
    """How the slides of one patient were stained and photographed; knows nothing of the class.

    Attributes:
        haematoxylin: unit vector of optical densities (red, green, blue) of the nuclear stain.
        eosin: the same of the pink stain.
        background: light through empty glass per channel, in [0, 1].
        light: mean of the red and of the green channel that every image of the patient comes
            close to, in [0, 1].
        blur: standard deviation of the lens blur in pixels of the finished image.
        grain: standard deviation of the camera noise in grey levels of 255.
    """

    haematoxylin: Array
    eosin: Array
    background: Array
    light: Array
    blur: float
    grain: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Stain:
        """Draws a patient's stain."""
        vectors = np.stack([_HAEMATOXYLIN, _EOSIN]) + rng.normal(0, 0.03, (2, 3))
        vectors = np.clip(vectors, 0.03, None)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        red = rng.uniform(0.64, 0.80)
        return cls(
            haematoxylin=vectors[0],
            eosin=vectors[1],
            background=rng.uniform([0.90, 0.93, 0.90], [0.99, 0.99, 0.99]),
            light=np.array([red, red - rng.uniform(0.11, 0.20)]),
            blur=float(rng.uniform(0.3, 0.5)),
            grain=float(rng.uniform(1.0, 2.5)),
        )


_BEND = 14.0  # how far a shape can be bent from its place, in units


class _Field:
    """The piece of tissue being painted: its coordinates in units and its random numbers."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, fine: float) -> None:
        self.rng = rng
        self.fine = fine  # pixels per unit
        self.y: Array = np.arange(height)[:, None] / fine
        self.x: Array = np.arange(width)[None, :] / fine
        self.high, self.wide = height / fine, width / fine
        # Tissue is never straight: shapes are drawn in coordinates that a smooth field has bent.
        self.v, self.u = (
            axis + np.clip(5 * self.noise(26) + 0.7 * self.noise(6), -_BEND, _BEND)
            for axis in (self.y, self.x)
        )

    def noise(self, grain: float) -> Array:
        """A smooth random field, mean 0, variance about 1, correlated over `grain` units."""
        if grain < 4:
            white = self.rng.standard_normal((self.y.size, self.x.size))
            field = ndimage.gaussian_filter(white, 0.7 * grain * self.fine, mode="wrap")
            return np.asarray(field / field.std(), dtype=np.float64)
        weights = []
        for axis in (self.y.ravel(), self.x.ravel()):
            knots = np.arange(-2, axis[-1] / grain + 3) * grain
            weight = np.exp(-(((axis[:, None] - knots) / grain) ** 2))
            weights.append(weight / np.sqrt((weight**2).sum(axis=1, keepdims=True)))
        rows, columns = weights
        knots_2d = self.rng.standard_normal((rows.shape[1], columns.shape[1]))
        # einsum, not BLAS, whose last bits may depend on the number of threads.
        return np.asarray(
            np.einsum("ik,kj->ij", np.einsum("il,lk->ik", rows, knots_2d), columns.T),
            dtype=np.float64,
        )

    def scatter(self, where: Mask, spacing: float, tries: int = 10) -> Array:
        """Points (y, x) in a mask, in random order, no two nearer than `spacing`."""
        places = np.flatnonzero(where)
        wanted = int(tries * places.size / (spacing * self.fine) ** 2)
        if not wanted:
            return np.empty((0, 2))
        places = self.rng.choice(places, min(wanted, places.size), replace=False)
        points = np.stack(np.divmod(places, where.shape[1]), axis=1)
        points = (points + self.rng.uniform(-0.5, 0.5, points.shape)) / self.fine
        tree, free, kept = cKDTree(points), np.ones(len(points), dtype=bool), []
        for number in range(len(points)):
            if free[number]:
                kept.append(number)
                free[tree.query_ball_point(points[number], spacing)] = False
        return points[kept]

    def clumps(
        self, spacing: float, radius: tuple[float, float], *, stretch: float = 1.0, wall: float
    ) -> Mask:
        """Round or drawn-out bodies at random places, kept apart by walls of a given width."""
        # Centres outside the frame matter too: tissue does not end where the photograph does.
        room = 1.35 * stretch * radius[1]
        centres = _darts(self.rng, self.high + 2 * room, self.wide + 2 * room, spacing) - room
        lean = self.rng.uniform(0, np.pi)
        # Levels are smooth: every unit is enough, and many times faster.
        step = max(1, round(self.fine))
        pitch = step / self.fine
        v, u = self.v[::step, ::step], self.u[::step, ::step]
        best = np.full(v.shape, -1e3)
        second = best.copy()
        for cy, cx in centres:
            size = self.rng.uniform(*radius)
            along = size * self.rng.uniform(1, 1.35) * stretch
            angle = lean + self.rng.normal(0, 0.35) if stretch > 1 else self.rng.uniform(0, np.pi)
            # Only the window that the body and the walls around it can reach.
            reach = along * (1 + wall / size) + _BEND
            rows, columns = (
                slice(max(0, int((c - reach) / pitch)), max(0, int((c + reach) / pitch)))
                for c in (cy, cx)
            )
            dy, dx = v[rows, columns] - cy, u[rows, columns] - cx
            a = dx * np.cos(angle) + dy * np.sin(angle)
            b = dy * np.cos(angle) - dx * np.sin(angle)
            level = size * (1 - np.sqrt((a / along) ** 2 + (b / size) ** 2))
            top = best[rows, columns]
            second[rows, columns] = np.maximum(second[rows, columns], np.minimum(top, level))
            best[rows, columns] = np.maximum(top, level)
        level = np.minimum(best, best - second - wall)
        places = np.mgrid[0 : self.y.size, 0 : self.x.size] / step
        level = ndimage.map_coordinates(level, places, order=1, mode="nearest")
        return np.asarray(level > 0, dtype=np.bool_)

    def fibres(self, depth: Array) -> tuple[Array, Array]:
        """Wavy collagen that gives way to glands: its texture (variance about 1) and direction."""
        lean = self.rng.uniform(0, np.pi)
        across = self.v * np.cos(lean) - self.u * np.sin(lean)
        along = self.u * np.cos(lean) + self.v * np.sin(lean)
        across = across + 5 * np.exp(-np.clip(-depth, 0, None) / 6) + 1.2 * self.noise(9)
        texture = np.zeros_like(across)
        for width, length, share in ((0.75, 15.0, 0.65), (1.6, 24.0, 0.6), (4.5, 40.0, 0.45)):
            silk = ndimage.gaussian_filter(self.rng.standard_normal((128, 128)), 0.8, mode="wrap")
            silk /= silk.std()
            place = np.stack([across / width + 1000, along / length + 1000])
            texture += share * ndimage.map_coordinates(silk, place, order=1, mode="grid-wrap")
        dy, dx = np.gradient(across)
        return texture, np.arctan2(dx, -dy) % np.pi  # at right angles to the steepest change


def _darts(rng: np.random.Generator, high: float, wide: float, spacing: float) -> Array:
    """Points of a shaken hexagonal lattice over a rectangle."""
    rows, columns = np.mgrid[0 : high : spacing * 0.87, 0:wide:spacing]
    columns[1::2] += spacing / 2
    points = np.stack([rows.ravel(), columns.ravel()], axis=1)
    return np.asarray(points + rng.uniform(-0.27, 0.27, points.shape) * spacing, dtype=np.float64)


@dataclass(frozen=True)
class _Nuclei:
    """How the nuclei of one kind of cell look and stand; lengths in units."""

    spacing: float
    radius: float  # short half axis
    spread: float  # relative standard deviation of the radius
    length: float  # long half axis over short
    wobble: float  # departure of the outline from an ellipse
    vesicular: float  # paleness of the middle, with a nucleolus to match
    uneven: float  # standard deviation of the log of the darkness

    def stand(self, rng: np.random.Generator, points: Array, angle: Array) -> Array:
        """One row per nucleus: y, x, short, long, angle, wobble, vesicular, darkness."""
        n = len(points)
        short = self.radius * np.clip(1 + self.spread * rng.standard_normal(n), 0.55, 1.8)
        long = short * np.clip(self.length * rng.normal(1, 0.15, n), 1, None)
        wobble, vesicular = self.wobble * rng.random(n), self.vesicular * rng.uniform(0.4, 1, n)
        dark = np.exp(self.uneven * rng.standard_normal(n))
        return np.column_stack([points, short, long, angle, wobble, vesicular, dark])


_LINING = _Nuclei(3.1, 1.35, 0.08, 1.45, 0.05, 0.15, 0.08)
_MYOEPITHELIUM = _Nuclei(7.0, 0.75, 0.1, 2.4, 0.05, 0.0, 0.15)
_TUMOUR = _Nuclei(5.9, 2.65, 0.24, 1.25, 0.13, 0.6, 0.3)
_FIBROBLAST = _Nuclei(9.5, 0.62, 0.15, 3.4, 0.1, 0.0, 0.2)
_LYMPHOCYTE = _Nuclei(2.9, 1.15, 0.08, 1.05, 0.03, 0.0, 0.08)


@dataclass(frozen=True)
class _Recipe:
    """The architecture of one subtype.

    Attributes:
        shape: draws the mask of the bodies that epithelium makes, lumen included.
        lining: thickness of the epithelium in units; infinite where it fills the whole body.
        nuclei: what the epithelial nuclei look like.
        retraction: width of the white gap between bodies and stroma.
        stroma: spacing of the nuclei in the stroma.
        mucin: whether the bodies float in pale pools.
    """

    shape: Callable[[_Field], Mask]
    lining: float = np.inf
    nuclei: _Nuclei = _TUMOUR
    retraction: float = 0.0
    stroma: float = 9.5
    mucin: bool = False


def _strands(field: _Field, pitch: float, width: float) -> Mask:
    """Thin cords that run side by side and break off, as lobular carcinoma grows."""
    lean = field.rng.uniform(0, np.pi)
    across = field.v * np.cos(lean) - field.u * np.sin(lean) + 2 * field.noise(12)
    strip = np.abs((across % pitch) - pitch / 2) < width / 2
    return np.asarray(strip & (field.noise(13) > -0.75), dtype=np.bool_)


RECIPES: dict[str, _Recipe] = {
    "A": _Recipe(lambda f: f.clumps(21, (7, 12), wall=3.5), 4.6, _LINING),
    "F": _Recipe(lambda f: f.clumps(27, (5.2, 8), stretch=3.0, wall=4.5), 4.6, _LINING, stroma=8.0),
    "PT": _Recipe(
        lambda f: np.abs(f.noise(24) + 0.25 * f.noise(9)) < 0.33, 4.6, _LINING, stroma=6.5
    ),
    "TA": _Recipe(lambda f: f.clumps(19, (7.5, 10), wall=2.6), 4.4, _LINING, stroma=8.0),
    "DC": _Recipe(
        lambda f: f.clumps(f.rng.uniform(28, 46), (14, 27), wall=f.rng.uniform(4, 11)),
        retraction=1.6,
    ),
    "LC": _Recipe(lambda f: _strands(f, 12.5, 6.5), stroma=8.0),
    "MC": _Recipe(lambda f: f.clumps(38, (11, 17), wall=8.0), mucin=True),
    "PC": _Recipe(lambda f: np.abs(f.noise(19) + 0.3 * f.noise(8)) > 0.16, 11.0),
}


def _depth(mask: Mask, fine: float) -> Array:
    """Signed distance to the edge of a mask in units, positive inside."""
    padded = np.pad(mask, 1, mode="edge")
    # A mask without an edge inside the frame: its edge is far away.
    if padded.all() or not padded.any():
        return np.where(mask, 1e3, -1e3)
    inside = ndimage.distance_transform_edt(padded) - ndimage.distance_transform_edt(~padded)
    return np.asarray(inside[1:-1, 1:-1] / fine, dtype=np.float64)


def _stamp(field: _Field, nuclei: Array) -> Array:
    """Density of nuclear stain, about 1 in a plain nucleus and 0 outside."""
    fine, rng = field.fine, field.rng
    nuclei = nuclei[np.argsort(nuclei[:, 3])]  # nuclei of a size together: small windows for most
    room = int(np.ceil(1.35 * fine * nuclei[:, 3].max(initial=0))) + 1
    canvas = np.zeros((field.y.size + 2 * room, field.x.size + 2 * room), dtype=np.float32)
    for part in np.array_split(nuclei, 1 + len(nuclei) // 64):
        reach = int(np.ceil(1.35 * fine * part[:, 3].max(initial=0))) + 1
        window = np.arange(-reach, reach + 1)
        row, column = np.rint(part[:, :2] * fine).astype(int).T[:, :, None, None]
        phase = rng.uniform(0, 2 * np.pi, (2, len(part), 1, 1)).astype(np.float32)
        dy = ((row + window[:, None]) / fine - part[:, 0, None, None]).astype(np.float32)
        dx = ((column + window) / fine - part[:, 1, None, None]).astype(np.float32)
        short, long, angle, wobble, vesicular, dark = part.T[2:, :, None, None].astype(np.float32)
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle)
        turn = np.arctan2(across, along)
        outline = 1 + wobble * (np.cos(2 * turn + phase[0]) + 0.7 * np.cos(3 * turn + phase[1]))
        radius = ((along / long) ** 2 + (across / short) ** 2) / outline**2
        cover = np.clip((1 - radius) * 0.5 * short * fine + 0.5, 0, 1)
        pale = 1 - vesicular * np.clip(1.1 - 1.1 * radius, 0, 0.7)
        spot = ((along - 0.3 * short * np.sin(phase[0])) ** 2) + (across**2)
        pale += 0.8 * vesicular * np.exp(-spot / (0.25 * short) ** 2)  # the nucleolus
        places = np.broadcast_arrays(row + window[:, None] + room, column + window + room)
        np.maximum.at(canvas, (places[0], places[1]), dark * cover * pale)
    return canvas[room : room + field.y.size, room : room + field.x.size].astype(np.float64)


def _develop(stain: Stain, light: Array, nuclear: Array, pink: Array) -> Array:
    """Beer-Lambert: densities -> RGB light in [0, 1], shape (H, W, 3).

    Both stains are scaled until the mean red and green light of the image come to a target that
    knows nothing of the class: nobody can tell the classes apart by colour.
    """
    gain = np.ones(2)
    samples = np.stack([nuclear[::3, ::3].ravel(), pink[::3, ::3].ravel()], axis=1)
    vectors = np.stack([stain.haematoxylin, stain.eosin])
    for _ in range(12):
        seen = (stain.background[:2] * np.exp(-(samples * gain) @ vectors[:, :2])).mean(axis=0)
        gain = np.clip(gain * (np.log(light) / np.log(seen)) ** 0.9, 0.55, 1.8)
    density = np.stack([gain[0] * nuclear, gain[1] * pink], axis=2) @ vectors
    return np.asarray(stain.background * np.exp(-density), dtype=np.float64)


def paint(
    rng: np.random.Generator, *, subtype: str, stain: Stain, height: int, width: int
) -> npt.NDArray[np.uint8]:
    """Paints one image.

    Args:
        rng: all that is random about the image, its patient's stain excepted.
        subtype: one of ``A``, ``F``, ``PT``, ``TA`` (benign), ``DC``, ``LC``, ``MC``, ``PC``
            (malignant).
        stain: the patient's stain.
        height: rows of the image.
        width: columns of the image.

    Returns:
        RGB in 0..255, shape (height, width, 3).

    Raises:
        BcadvError: for an unknown subtype.
    """
    if subtype not in RECIPES:
        raise BcadvError(f"Subtype {subtype!r} cannot be painted; choose from {list(RECIPES)}.")
    recipe = RECIPES[subtype]
    scale = (height / 92) ** 0.6
    field = _Field(rng, height, width, scale)

    depth = _depth(recipe.shape(field), field.fine) + 0.35 * field.noise(3)
    silk, direction = field.fibres(depth)
    lining = recipe.lining * (1 + 0.08 * field.noise(5))
    epithelium = (depth > 0) & (depth < lining)
    lumen = depth >= lining
    if np.isinf(recipe.lining):  # solid growth leaves round holes here and there
        hole = field.clumps(rng.uniform(16, 30), (2.2, 4.2), wall=2.0) & (depth > 4)
        lumen, epithelium = hole, epithelium & ~hole
    outside = depth <= 0
    shrunk = recipe.retraction * np.clip(0.35 + field.noise(16) + 0.4 * field.noise(6), 0, 1.6)
    gap = outside & (depth > -shrunk)
    pool = outside & recipe.mucin & (depth > -14 - 6 * field.noise(15))
    fat = outside & (field.noise(30) > rng.uniform(0.9, 2.4)) & (depth < -3)
    drops = fat & (field.clumps(13, (8, 12), wall=1.6) if fat.any() else False)
    slit = silk < -1.6 + 0.45 * field.noise(20)
    stroma = outside & ~gap & ~pool & ~fat

    speckle = field.noise(1.2)
    loose = np.clip(1 + 0.22 * field.noise(24), 0.4, 1.6)
    pink = np.where(slit, 0.1, np.clip(0.62 + 0.2 * silk + 0.07 * speckle, 0.15, None) * loose)
    blue = np.where(slit, 0.03, np.clip(0.10 + 0.03 * silk, 0.02, None))
    for mask, eosin, nuclear in (
        (epithelium, 0.42 + 0.07 * speckle, 0.15 + 0.04 * speckle),
        (lumen, np.clip(0.05 * (field.noise(7) + 0.4 * speckle), 0.01, None), 0.015),
        (pool, 0.06 + 0.03 * silk, 0.14 + 0.04 * silk),
        (gap | drops, 0.012, 0.008),
    ):
        pink, blue = np.where(mask, eosin, pink), np.where(mask, nuclear, blue)
    pink, blue = (ndimage.gaussian_filter(layer, 0.6) for layer in (pink, blue))  # no hard edges

    dy, dx = np.gradient(ndimage.gaussian_filter(depth, field.fine))
    outward = np.arctan2(dy, dx)
    solid = np.isinf(recipe.lining)
    cells = []
    for kind, where, angle, jitter in (
        (recipe.nuclei, epithelium & (depth > 1.2) & (depth < lining - 1.6), outward, 0.15),
        (_MYOEPITHELIUM, np.abs(depth) < 0.35, outward + np.pi / 2, 0.1),
        (_FIBROBLAST, stroma & ~slit & (depth < -1.5), direction, 0.2),
        (_LYMPHOCYTE, stroma & (field.noise(14) > rng.uniform(1.5, 3.0)), direction, 1.5),
    ):
        if kind is _MYOEPITHELIUM and recipe.nuclei is _TUMOUR:
            continue  # carcinoma is what has lost this layer
        spacing = recipe.stroma if kind is _FIBROBLAST else kind.spacing
        points = field.scatter(where, spacing)
        row, column = (points * field.fine).astype(int).T
        row, column = row.clip(0, field.y.size - 1), column.clip(0, field.x.size - 1)
        wild = 2.0 if kind is _TUMOUR and solid else jitter
        cells.append(kind.stand(rng, points, angle[row, column] + rng.normal(0, wild, len(points))))
    nuclei = _stamp(field, np.concatenate(cells)) * (1 + 0.16 * field.noise(0.6))
    blue = np.maximum(blue, 1.25 * nuclei)
    pink = pink * (1 - 0.55 * np.clip(nuclei, 0, 1))

    rgb = _develop(stain, stain.light + rng.normal(0, 0.012, 2), blue, pink)
    rgb = rgb * (1 + 0.02 * field.noise(60))[:, :, None]
    rgb = ndimage.gaussian_filter(rgb, (stain.blur, stain.blur, 0))
    rgb = 255 * rgb + rng.normal(0, stain.grain, rgb.shape)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), dtype=np.uint8)
