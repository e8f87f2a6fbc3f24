"""Where the judge draws its lines."""

import torch

from fader_demo.attributes import AttributeSchema
from train.data import label_anchors, overlap_weights

BEARD_AND_MALE = AttributeSchema.from_config([{"name": "Beard"}, {"name": "Male"}])
SHAVEN, BEARDED, WOMAN = [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]


def test_the_line_lies_between_faces_alike_in_all_else() -> None:
    labels = torch.tensor([SHAVEN] * 300 + [BEARDED] * 100 + [WOMAN] * 600)
    logits = labels @ torch.tensor([[2.0, 0.0], [4.0, 1.0]])
    weights = overlap_weights(BEARD_AND_MALE, labels)
    (shaven, bearded), _ = label_anchors(BEARD_AND_MALE, logits, labels, weights).tolist()
    assert abs(shaven - 4) < 0.2  # women, at 0, hardly count
    assert abs(bearded - 6) < 0.01


def test_weights_balance_the_other_labels() -> None:
    labels = torch.tensor([SHAVEN] * 300 + [BEARDED] * 100 + [WOMAN] * 300 + [[1.0, 0.0]] * 300)
    weight = overlap_weights(BEARD_AND_MALE, labels)[:, 0]
    beard, male = labels.bool().T
    with_it, without = (
        (weight * male)[chosen].sum() / weight[chosen].sum() for chosen in (beard, ~beard)
    )
    assert abs(with_it - without) < 0.02
    assert abs(male[beard].float().mean() - male[~beard].float().mean()) > 0.2  # as they are


def test_an_attribute_alone_counts_every_face_the_same() -> None:
    schema = AttributeSchema.from_config([{"name": "Beard"}])
    assert overlap_weights(schema, torch.tensor([[0.0], [1.0], [1.0]])).unique().tolist() == [1]


def test_labels_that_are_all_the_same_count_every_face_the_same() -> None:
    labels = torch.tensor([SHAVEN, BEARDED, BEARDED])
    assert overlap_weights(BEARD_AND_MALE, labels)[:, 1].tolist() == [1, 1, 1]
