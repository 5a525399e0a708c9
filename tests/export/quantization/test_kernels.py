"""The runtime's built-in kernels, without XNNPACK, name the same classes."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from lmedge.export.verification.comparison import run_file
from lmedge.model_file import HEADS, read_model
from tests.export.conftest import Exported

LARGEST = 0.05  # difference of a probability; kernels round differently


def test_built_in_kernels_name_the_same_classes(exported: Exported) -> None:
    model, images = read_model(exported.path), exported.run.images("test")
    expected = run_file(model, images)
    plain = Interpreter(
        model_content=model.data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    plain.allocate_tensors()
    for number, image in enumerate(images):
        plain.set_tensor(model.image.index, image[None])
        plain.invoke()
        for head in HEADS:
            found, wanted = plain.get_tensor(model.heads[head].index)[0], expected[head][number]
            assert found.argmax() == wanted.argmax(), (head, number)
            assert np.abs(found - wanted).max() < LARGEST, (head, number)
