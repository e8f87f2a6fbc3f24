"""The embeddings that tell whether an edit leaves a person the same."""

from __future__ import annotations

import numpy as np
import torch
from skimage import data

from fader_demo.faces import FaceAligner
from fader_demo.photos import read_photo
from train.identity import FaceEmbedder


def test_a_face_is_nearer_to_itself_than_to_another() -> None:
    photo = read_photo(data.astronaut())
    aligner = FaceAligner(128)
    face, _ = aligner.align(photo, aligner.detect(photo)[0])
    own = torch.from_numpy(np.array(face)).permute(2, 0, 1)[None] / 127.5 - 1
    darker = own * 0.8 - 0.15
    wider = torch.nn.functional.interpolate(own[:, :, 20:108], size=(128, 128), mode="bilinear")
    embeddings = FaceEmbedder()(torch.cat([own, darker, wider]))
    assert embeddings.shape == (3, 128)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))
    near, far = embeddings[0] @ embeddings[1], embeddings[0] @ embeddings[2]
    assert near > 0.97
    assert near > far + 0.02
