"""Names of kernels and of their arguments are the user's, in whichever script."""

from __future__ import annotations

import numpy as np
import pytest

from neff import read_neff
from nkipy.runtime import DeviceKernel, DeviceTensor, simulate_jit

X = np.arange(3, dtype=np.float32)


def größe(ä, 長さ):
    return {"Straße": ä * 長さ["größte"]}


def test_in_a_simulated_module() -> None:
    simulated = simulate_jit(größe)
    (result,) = simulated(X, {"größte": X}).items()
    assert result[0] == "Straße"
    np.testing.assert_array_equal(result[1], X * X)
    module = simulated.lower(X, {"größte": X})
    assert [p.name for p in module.parameters] == ["ä", "長さ.größte"]


@pytest.mark.device
def test_on_a_device() -> None:
    x = DeviceTensor.from_numpy(X, "ä")
    result = DeviceTensor.from_numpy(np.zeros_like(X))
    kernel = DeviceKernel.compile_and_load(lambda ä, ö: ä - 2 * ö, x, x, name="größe")
    kernel(inputs={"ä": x, "ö": x}, outputs={"output0": result})
    np.testing.assert_array_equal(result.numpy(), -X)
    assert [t.name for t in read_neff(kernel.neff_path).inputs] == ["ä", "ö"]
    with pytest.raises(ValueError, match=r"'é'.*'größe'.*\['ä', 'ö'\]"):
        kernel(inputs={"ä": x, "é": x}, outputs={"output0": result})
