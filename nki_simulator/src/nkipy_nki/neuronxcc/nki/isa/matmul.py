"""The tensor engine: products and transposes."""

from __future__ import annotations

from typing import Any

from nkipy_nki.engines import Engine
from nkipy_nki.isa.names import matmul_perf_mode
from nkipy_nki.neuronxcc.nki.isa.common import operand
from nkipy_nki.neuronxcc.nki.moving import product, transposed
from nkipy_nki.neuronxcc.nki.tiles import Fresh
from nkipy_nki.running import invalid

__all__ = ["nc_matmul", "nc_transpose"]

#: What the first generation called today's modes.
_MODES = {
    "double_row": matmul_perf_mode.double_row,
    "double_row_gen3": matmul_perf_mode.double_row,
}


def nc_matmul(
    stationary: Any,
    moving: Any,
    *,
    is_stationary_onezero: bool = False,
    is_moving_onezero: bool = False,
    is_transpose: bool = False,
    tile_position: tuple[int, ...] = (),
    tile_size: tuple[int, ...] = (),
    perf_mode: Any = None,
    mask: Any = None,
) -> Fresh:
    """``stationary.T @ moving``, float32 in the PSUM; ``+=`` there accumulates it.

    Args:
        stationary: (K, M) in the SBUF.
        moving: (K, N) in the SBUF.
        is_stationary_onezero: whether it has ones and zeros only.
        is_moving_onezero: the same of `moving`.
        is_transpose: whether it transposes.
        tile_position: of the processing elements, where it begins.
        tile_size: of them, how many it takes.
        perf_mode: ``"double_row_gen3"``, of operands (K, 2, M) and (K, 2, N).
        mask: a truth value that is known, the first rows and columns of the result, or
            the first rows of both operands: those that are summed over.
    """
    return product(
        "nisa.nc_matmul",
        operand("nc_matmul", "stationary", stationary),
        operand("nc_matmul", "moving", moving),
        mask,
        is_stationary_onezero=is_stationary_onezero,
        is_moving_onezero=is_moving_onezero,
        is_transpose=is_transpose,
        tile_position=tuple(tile_position),
        tile_size=tuple(tile_size),
        perf_mode=_mode(perf_mode),
    )


def _mode(given: Any) -> matmul_perf_mode:
    """The mode of a name, or one of today's.

    Raises:
        NkiValidationError: there is none.
    """
    if given is None:
        return matmul_perf_mode.none
    if isinstance(given, matmul_perf_mode):
        return given
    found = _MODES.get(given) if isinstance(given, str) else None
    if found is None:
        raise invalid(
            f"nisa.nc_matmul: perf_mode is {given!r}, and may be None or one of "
            f"{', '.join(map(repr, _MODES))}"
        )
    return found


def nc_transpose(
    data: Any, *, mask: Any = None, dtype: Any = None, engine: Engine = Engine.unknown
) -> Fresh:
    """Rows and columns exchanged: in the PSUM by TensorE, else in the SBUF.

    Args:
        data: a tile; its free dimensions count as one.
        mask: a truth value that is known.
        dtype: of the result: that of `data`.
        engine: ``nisa.tensor_engine`` or ``nisa.vector_engine``.
    """
    return transposed(operand("nc_transpose", "data", data), engine, dtype, mask)
