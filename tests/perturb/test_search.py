"""What is known of a batch only grows: the nearest point counts, for every radius that holds it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bcadv.perturb import PGD, ThreatModel
from bcadv.perturb.search import Search

RADII = [0.3, 0.1, 0.0, 0.2]


class Sum(nn.Module):
    """Says class 1 where the sum of the pixels is above a half."""

    def forward(self, image: Tensor) -> Tensor:
        lead = image.flatten(1).sum(1) - 0.5
        return torch.stack([-lead, lead], 1)


def search(*values: float) -> Search:
    """Images of one pixel each, all of class 0."""
    image = torch.tensor(values).reshape(-1, 1, 1, 1)
    attack = PGD(ThreatModel(0.0))
    n = len(values)
    return Search(attack, Sum(), image, torch.zeros(n).long(), torch.arange(n), 0, RADII)


def offered(known: Search, row: int, value: float) -> bool:
    rows = torch.tensor([row])
    point = torch.full((1, 1, 1, 1), value)
    return bool(known.offer(rows, point, known.logits(rows, point)))


def test_a_farther_point_never_replaces_a_nearer_one() -> None:
    known = search(0.4)
    known.answer_clean()
    assert known.high.tolist() == [3]
    assert offered(known, 0, 0.65)
    assert known.high.tolist() == [2], "0.25 away: inside 0.3 alone"
    assert offered(known, 0, 0.55)
    assert known.high.tolist() == [1], "0.15 away"
    assert offered(known, 0, 0.69)
    assert known.high.tolist() == [1]
    torch.testing.assert_close(known.distance, torch.tensor([0.15]).double())
    torch.testing.assert_close(known.found.flatten(), torch.tensor([0.55]))
    assert not offered(known, 0, 0.45)
    assert known.high.tolist() == [1]


def test_of_several_points_of_one_image_the_nearest_counts_and_of_failures_the_largest_lead() -> (
    None
):
    known = search(0.4, 0.3)
    known.answer_clean()
    rows, points = torch.tensor([0, 1, 0, 1, 0]), torch.tensor([0.65, 0.45, 0.52, 0.48, 0.6])
    points = points.reshape(-1, 1, 1, 1)
    known.offer(rows, points, known.logits(rows, points))
    torch.testing.assert_close(known.distance, torch.tensor([0.12, torch.inf]).double())
    assert known.found[0].item() == points[2].item()
    assert known.high.tolist() == [1, 3]
    assert known.queries.tolist() == [1 + 3, 1 + 2]
    lead = torch.tensor([-0.3, -0.1, -0.2]).double()
    again = torch.tensor([1, 1, 1])
    known.failed(again, torch.zeros(3).long(), points[[1, 3, 0]], lead)
    assert known.near[1].item() == points[3].item()


def test_each_radius_has_the_best_point_inside_it() -> None:
    known = search(0.4)
    known.answer_clean()
    offered(known, 0, 0.55)
    rows, number = torch.tensor([0]), torch.tensor([0])
    known.failed(rows, number, torch.full((1, 1, 1, 1), 0.49), torch.tensor([-0.02]).double())
    images = [known.image_at(eps).item() for eps in sorted(RADII)]
    torch.testing.assert_close(images, [0.4, 0.49, 0.55, 0.55], rtol=0, atol=1e-6)


def test_what_came_closest_at_the_larger_radius_counts_and_then_the_larger_lead() -> None:
    known = search(0.1)
    known.answer_clean()
    rows = torch.tensor([0])

    def failed(number: int, value: float, lead: float) -> float:
        point = torch.full((1, 1, 1, 1), value)
        known.failed(rows, torch.tensor([number]), point, torch.tensor([lead]).double())
        return round(known.near.item(), 3)

    assert failed(1, 0.25, -0.3) == 0.25
    assert failed(0, 0.2, -0.1) == 0.25, "a smaller radius says less"
    assert failed(1, 0.3, -0.4) == 0.25, "a smaller lead"
    assert failed(1, 0.28, -0.2) == 0.28
    assert failed(2, 0.35, -0.9) == 0.35


def test_who_broke_an_image_first_and_after_how_many_answers_is_kept() -> None:
    known = search(0.4, 0.6)
    known.answer_clean()
    assert known.high.tolist() == [3, 0], "the second is wrong as it is"
    known.member = 1
    offered(known, 0, 0.65)
    known.member = 2
    offered(known, 0, 0.45)
    offered(known, 0, 0.55)
    offered(known, 1, 0.7)
    assert known.by.tolist()[0] == [-1, 2, 1]
    assert known.by_strength(RADII).tolist()[0] == [1, -1, -1, 2]
    found = known.sweep(RADII)
    assert found.broken_after is not None
    assert found.queries is not None
    # clean, 0.65, 0.45 and 0.55: the first of them broke the largest radius, the last the middle.
    assert found.queries.tolist() == [4, 2]
    assert found.broken_after.tolist() == [[2, -1, -1, 4], [1, 1, 1, 1]]


def test_a_point_on_the_edge_of_a_ball_is_in_it_and_one_beyond_rounding_is_not() -> None:
    known = search(0.4)
    known.answer_clean()
    offered(known, 0, 0.4 + 0.2 * (1 + 1e-3))
    assert known.high.tolist() == [2]
    offered(known, 0, 0.6)
    assert known.high.tolist() == [1]


def test_no_radius_and_radius_zero_are_no_attack() -> None:
    image = torch.tensor([0.4, 0.6]).reshape(-1, 1, 1, 1)
    target, index = torch.zeros(2).long(), torch.arange(2)
    known = Search(PGD(ThreatModel(0.0)), Sum(), image, target, index, 0, [0.0])
    known.answer_clean()
    found = known.sweep([0.0])
    assert found.images[0].equal(image)
    assert found.broken_after is not None
    assert found.broken_after.tolist() == [[-1], [1]]
