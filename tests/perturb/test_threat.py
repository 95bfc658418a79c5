from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bcadv.errors import BcadvError
from bcadv.perturb import ThreatModel

NORMS = [math.inf, 2.0]
radii = st.floats(0.0, 1.0)
seeds = st.integers(0, 2**32 - 1)


def points(
    seed: int, size: int = 3, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins in the box, and points around them, many of them outside ball and box."""
    generator = torch.Generator().manual_seed(seed)
    origin = torch.rand(size, 3, 4, 4, generator=generator, dtype=dtype)
    # One image is moved a hundred times as far as the next.
    reach = 10.0 ** -torch.arange(size, dtype=dtype).mul(2).reshape(-1, 1, 1, 1)
    return origin, origin + reach * torch.randn(origin.shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize(
    ("settings_", "named"),
    [
        ({"eps": -0.1}, "-0.1"),
        ({"eps": math.nan}, "nan"),
        ({"eps": math.inf}, "inf"),
        ({"eps": "8/255"}, "8/255"),
        ({"eps": True}, "True"),
        ({"eps": 0.1, "norm": 3}, "norm is 3"),
        ({"eps": 0.1, "norm": "inf"}, ".inf in YAML"),
        ({"eps": 0.1, "bounds": (1.0, 0.0)}, r"\(1.0, 0.0\)"),
        ({"eps": 0.1, "bounds": (0.5, 0.5)}, "lower one first"),
        ({"eps": 0.1, "bounds": (0.0, math.inf)}, "finite"),
        ({"eps": 0.1, "bounds": (0.0,)}, "two"),
        ({"eps": 8}, "8/255"),
        ({"eps": 1.01}, "pixels span .0, 1. only"),
        ({"eps": 300, "bounds": (0, 255)}, "pixels span .0, 255. only"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings_: dict[str, Any], named: str) -> None:
    with pytest.raises(BcadvError, match=named):
        ThreatModel(**settings_)


def test_settings_from_a_config_file_compare_equal_to_those_from_python() -> None:
    from_file: Any = ThreatModel(eps=1, norm=2, bounds=[0, 1])  # type: ignore[arg-type]
    assert from_file == ThreatModel(1.0, 2.0, (0.0, 1.0))
    assert hash(from_file) == hash(ThreatModel(1.0, 2.0, (0.0, 1.0)))


def test_another_radius_keeps_the_rest() -> None:
    threat = ThreatModel(0.1, 2, (0.2, 0.9))
    assert threat.with_eps(0.3) == ThreatModel(0.3, 2, (0.2, 0.9))
    with pytest.raises(BcadvError, match="-1"):
        threat.with_eps(-1)


@pytest.mark.parametrize("norm", NORMS)
def test_size_is_numpys_norm_of_each_image_alone(norm: float) -> None:
    origin, image = points(0)
    delta = image - origin
    expected = [np.linalg.norm(one.numpy().ravel(), ord=norm) for one in delta]
    np.testing.assert_allclose(ThreatModel(1.0, norm).size(delta).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds, eps=radii)
@settings(max_examples=40)
def test_projection_lands_in_ball_and_box_and_stays_there(
    norm: float, seed: int, eps: float
) -> None:
    threat = ThreatModel(eps, norm)
    origin, image = points(seed)
    once = threat.project(image, origin)
    for one, start in zip(once.numpy(), origin.numpy(), strict=True):
        assert np.linalg.norm((one - start).ravel(), ord=norm) <= eps * (1 + 1e-12) + 1e-15
        assert one.min() >= 0
        assert one.max() <= 1
    assert bool(threat.contains(once, origin).all())
    torch.testing.assert_close(threat.project(once, origin), once, rtol=0, atol=1e-15)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projection_leaves_what_is_inside_bit_for_bit(norm: float, dtype: torch.dtype) -> None:
    origin, _ = points(0, dtype=dtype)
    inside = (origin + 0.01 * torch.randn_like(origin)).clamp(0, 1)
    assert torch.equal(
        ThreatModel(1.0 if norm == math.inf else 5.0, norm).project(inside, origin), inside
    )
    assert torch.equal(ThreatModel(0.0, norm).project(inside, origin), origin)


def test_euclidean_projection_shortens_without_turning() -> None:
    origin = torch.full((2, 1, 2, 2), 0.5, dtype=torch.float64)
    step = torch.tensor([3.0, -4.0, 0.0, 12.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    delta = torch.cat([step, step / 1300])  # lengths 13 and 0.01
    moved = ThreatModel(0.13, 2).project(origin + delta, origin) - origin
    torch.testing.assert_close(moved, torch.cat([step / 100, step / 1300]))


@pytest.mark.parametrize("norm", NORMS)
def test_neighbours_do_not_change_a_projection(norm: float) -> None:
    threat = ThreatModel(0.05, norm)
    origin, image = points(1)
    together = threat.project(image, origin)
    for i in range(len(image)):
        assert torch.equal(threat.project(image[i : i + 1], origin[i : i + 1])[0], together[i])


@pytest.mark.parametrize("norm", NORMS)
def test_contains_finds_each_kind_of_offender(norm: float) -> None:
    threat = ThreatModel(0.25, norm)
    origin = torch.full((6, 3, 4, 4), 0.5)
    origin[3:5] = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    image = origin.clone()
    image[1, 0, 0, 0] += 0.25  # on the edge
    image[2, 0, 0, 0] += 0.2501
    image[3, 0, 0, 0] -= 1e-6
    image[4, 0, 0, 0] += 1e-6
    image[5, 0, 0, 0] = math.nan
    assert threat.contains(image, origin).tolist() == [True, True, False, False, False, False]
    assert threat.contains(image[:0], origin[:0]).tolist() == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", NORMS)
def test_the_forgiveness_covers_rounding_and_little_more(norm: float, dtype: torch.dtype) -> None:
    image = torch.zeros(1, 3, 224, 224, dtype=dtype)
    slack = ThreatModel(0.0, norm).slack(image)
    assert slack < (1e-4 if dtype == torch.float32 else 1e-12)
    origin = torch.rand(image.shape, dtype=dtype)
    threat = ThreatModel(4.0 if norm == 2 else 4 / 255, norm)
    step = threat.eps * threat.direction(torch.randn(image.shape, dtype=dtype))
    assert bool(threat.contains((origin + step).clamp(0, 1), origin).all())


@pytest.mark.parametrize(("norm", "dual"), [(math.inf, 1), (2.0, 2)])
@given(seed=seeds)
@settings(max_examples=20)
def test_direction_is_a_unit_step_that_gains_the_dual_norm(
    norm: float, dual: int, seed: int
) -> None:
    threat = ThreatModel(1.0, norm)
    origin, image = points(seed)
    gradient = image - origin
    direction = threat.direction(gradient)
    for step, slope in zip(direction.numpy(), gradient.numpy(), strict=True):
        assert np.linalg.norm(step.ravel(), ord=norm) == pytest.approx(1)
        assert (step * slope).sum() == pytest.approx(np.linalg.norm(slope.ravel(), ord=dual))


@pytest.mark.parametrize("norm", NORMS)
def test_no_gradient_gives_no_direction(norm: float) -> None:
    gradient = torch.zeros(2, 3, 4, 4)
    gradient[1, 0, 0, :2] = torch.tensor([2.0, -2.0])
    direction = ThreatModel(1.0, norm).direction(gradient)
    assert torch.equal(direction[0], torch.zeros(3, 4, 4))
    assert int(direction[1].count_nonzero()) == 2
    assert direction[1, 0, 0, 0] == -direction[1, 0, 0, 1] > 0


@pytest.mark.parametrize("scale", [1e-35, 1e-23, 1e25])
def test_direction_survives_gradients_whose_squares_leave_the_number_range(scale: float) -> None:
    gradient = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    threat = ThreatModel(1.0, 2)
    torch.testing.assert_close(threat.direction(gradient * scale), threat.direction(gradient))


@given(st.decimals(0, 255, places=6).map(float))
def test_grey_levels_survive_the_round_trip(eps_px: float) -> None:
    threat = ThreatModel.from_px(eps_px, norm=2)
    assert threat.eps_px == eps_px
    assert threat.norm == 2
    assert threat.eps == pytest.approx(eps_px / 255)


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_a_direction_to_the_edge_has_size_1_and_either_sign(norm: float) -> None:
    uniform = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    step = ThreatModel(0.1, norm).edge(uniform)
    torch.testing.assert_close(ThreatModel(0.1, norm).size(step), torch.ones(20))
    assert torch.equal(step < 0, uniform < 0.5)
    with pytest.raises(ValueError, match="number of values"):
        ThreatModel(1, 0).edge(uniform)
