"""What kernels print, and what their decorators and annotations may say."""

from __future__ import annotations

import typing
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import nkipy_nki as nki
import nkipy_nki.isa as nisa
import nkipy_nki.language as nl
from nkipy_nki.compiler import AddressRotation, CompileConfig, SpecializationConfig
from nkipy_nki.replaying import replay
from nkipy_nki.wire import decode, encode


def kernel(x: Any) -> Any:
    tile = nl.ndarray(x.shape, x.dtype)
    nisa.dma_copy(tile, x)
    nl.device_print("tile", tile)
    out = nl.ndarray(x.shape, x.dtype, buffer=nl.shared_hbm)

    def body(i: Any) -> None:
        nisa.dma_copy(out[nl.ds(i, 1), :], tile[0:1, :])
        nl.device_print("row", out[nl.ds(i, 1), :])

    nl.fori_loop(0, x.shape[0], body)
    return out


def test_tensors_are_printed_at_once_and_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    x = np.array([[1, 2], [3, 4.5]], np.float32).astype(ml_dtypes.bfloat16)
    simulation = nki.simulate(kernel).run(x)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["tile [[1 2]", " [3 4.5]]", "row [[1 2]]", "row [[1 2]]"]
    (printed,) = simulation.debug_output
    assert [name for name, _ in printed] == ["tile", "row", "row"]
    np.testing.assert_array_equal(printed[0][1], x)
    np.testing.assert_array_equal(printed[2][1], x[:1])


def test_what_was_printed_does_not_change_afterwards() -> None:
    def changes(x: Any) -> None:
        nl.device_print("x", x)
        nisa.dma_copy(x[0:1, :], x[1:2, :])

    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    simulation = nki.simulate(changes).run(x.copy())
    np.testing.assert_array_equal(simulation.debug_output[0][0][1], x)


def test_a_program_that_runs_again_prints_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    x = np.ones((2, 2), np.float32)
    simulation = nki.simulate(kernel).run(x)
    first = capsys.readouterr().out
    replay(decode(encode(simulation.programs)), [x])
    assert first and not capsys.readouterr().out


def test_a_kernel_s_own_prints_are_python_s(capsys: pytest.CaptureFixture[str]) -> None:
    nki.simulate(lambda x: print(x))(np.ones((2, 2), np.float32))
    assert "[2, 2] float32" in capsys.readouterr().out


def test_annotations_of_tensors_have_shapes() -> None:
    tensor = nki.typing.tensor

    def annotated(x: tensor[128, 512], y: tensor) -> tensor[1, 1] | None:  # type: ignore[valid-type,type-arg]
        return None

    names = {"tensor": tensor}
    hints = typing.get_type_hints(annotated, localns=names)
    assert typing.get_args(hints["x"]) == (128, 512)
    assert typing.get_origin(hints["x"]) is hints["y"] is tensor
    assert repr(tensor[4, 2]).endswith("tensor[4, 2]")
    assert nki.simulate(annotated)(np.ones(2, "int8"), np.ones(2, "int8")) is None


def test_configurations_are_data_that_the_simulator_does_not_look_at() -> None:
    config = CompileConfig(
        address_rotation=AddressRotation.DISABLE, dead_code_elim=True
    )
    special = SpecializationConfig(allow_nested_config_override=True)

    @nki.jit(compile_config=config, specialization_config=special)
    def configured(x: Any) -> Any:
        return x

    x = np.ones((2, 2), np.float32)
    assert configured(x) is x
    assert configured.options["compile_config"] is config
    assert CompileConfig() == CompileConfig(AddressRotation.AUTO)
    assert CompileConfig().nki_alloc_fallback and not CompileConfig().prefetch_auto
    with pytest.raises(TypeError, match="other"):
        CompileConfig(other=True)  # type: ignore[call-arg]
