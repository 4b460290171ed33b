"""What traced tensors refuse to Python and NumPy, since it takes their values."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from nkipy.core.backend._source import caller_location
from nkipy.core.errors import (
    ConcretizationError,
    NKIPyAttributeError,
    describe_call,
)
from nkipy.core.op_table import OPS
from nkipy.hlo.ir import HLOInstruction

_RETURN_IT = "return the array from the kernel"
#: What to write in the place of an attribute that traced arrays lack.
_INSTEAD = {
    "base": "compare arrays with `is`",
    "byteswap": "swap the bytes before the kernel is called",
    "ctypes": _RETURN_IT,
    "data": _RETURN_IT,
    "flags": "the order and the memory of an array are not the kernel's to choose",
    "flat": "use reshape(-1)",
    "getfield": "use view",
    "resize": "use np.resize, which makes another array",
    "setfield": "use view",
    "setflags": "the order and the memory of an array are not the kernel's to choose",
}


#: What to write instead of setting an attribute; else it is what is read-only.
_INSTEAD_OF_SETTING = {
    "shape": "use a = a.reshape(shape), which makes a view",
    "dtype": "use a = a.view(dtype), or a.astype(dtype) to convert the values",
    "strides": "use indices, transposes and reshapes, which make views",
    "T": "store into it: a.T[...] = values",
    "mT": "store into it: a.mT[...] = values",
    "real": "store into the array: a[...] = values",
    "imag": "complex dtypes are not supported",
    "data": "store into the array: a[...] = values",
}


def refusing_to_be_set(name: str, owner: type) -> property:
    """The property `name` of a tensor class, which says so where it is assigned to."""
    found = vars(owner).get(name)

    def read(self: Unknown) -> NoReturn:
        self.__getattr__(name)

    def refuse(self: Unknown, value: Any) -> NoReturn:
        instead = _INSTEAD_OF_SETTING.get(name)
        raise NKIPyAttributeError(
            f"the {name} of a traced array cannot be set"
            + (f"; {instead}" if instead else ""),
            op=f"ndarray.{name}",
            received=describe_call((self, value), {}),
            location=caller_location(),
        )

    return (found or property(read)).setter(refuse)


class Unknown:
    """A value that is not known while the kernel is traced.

    All that is here raises an error that says what to do instead.
    """

    __slots__ = ()

    @property
    def backend_tensor(self) -> HLOInstruction:
        """The instruction that computes the present value."""
        raise NotImplementedError

    def _concrete(self, what: str, instead: str) -> NoReturn:
        made = self.backend_tensor.source_location
        origin = f" (made at {made})" if made else ""
        raise ConcretizationError(
            f"{what} of {self!r}{origin} is not known while the kernel is traced; "
            f"{instead}",
            location=caller_location(),
        )

    def __bool__(self) -> NoReturn:
        self._concrete(
            "the truth value",
            "use np.where to choose between values, & and | for 'and' and 'or', "
            "np.maximum and np.minimum for max and min",
        )

    def __contains__(self, item: Any) -> NoReturn:
        self._concrete("membership", "use np.any(x == item) as a traced value")

    def __int__(self) -> NoReturn:
        self._concrete("the int value", "use .astype(np.int32)")

    def __float__(self) -> NoReturn:
        self._concrete(
            "the float value",
            "use .astype(np.float32), np.exp for math.exp and the like, or store it "
            "into an array that np.zeros (called so, as np.zeros) made inside the "
            "kernel",
        )

    def __complex__(self) -> NoReturn:
        self._concrete("the complex value", "complex dtypes are not supported")

    def __index__(self) -> NoReturn:
        self._concrete(
            "the index value",
            "index arrays with it directly (a[t], a[t:t + 4]), or pass it to the "
            "kernel as a Python int",
        )

    def __format__(self, spec: str) -> str:
        if spec:
            self._concrete("the text", "format what the kernel returns")
        return str(self)

    def item(self, *args: Any) -> NoReturn:
        self._concrete("item()", "keep it as a 0-d array")

    def tolist(self) -> NoReturn:
        self._concrete("tolist()", "iterate over the first axis instead")

    def tobytes(self, order: str | None = "C") -> NoReturn:
        self._concrete("tobytes()", _RETURN_IT)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise ConcretizationError(
            f"{self!r} cannot become a NumPy array: its value is not known while the "
            "kernel is traced. To collect traced values, store them into an array that "
            "np.zeros, np.empty or np.zeros_like made inside the kernel, or use "
            "np.stack; np.max([x, y], axis=0) and other functions of a list take "
            "np.stack([x, y]) in its place. Call np.asarray, np.zeros and the like by "
            "these names: a trace does not see a function that was bound to another "
            "name before (from numpy import asarray)",
            location=caller_location(),
        )

    # Python asks for it since 3.12.
    def __buffer__(self, flags: int) -> memoryview:
        self._concrete("the memory", _RETURN_IT)

    def __dlpack__(self, **kwargs: Any) -> NoReturn:
        self._concrete("the memory", _RETURN_IT)

    def __dlpack_device__(self) -> NoReturn:
        self._concrete("the memory", _RETURN_IT)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._concrete("the pickle", _RETURN_IT)

    def tofile(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._concrete("the text", _RETURN_IT)

    def dump(self, file: Any) -> NoReturn:
        self._concrete("the pickle", _RETURN_IT)

    def dumps(self) -> NoReturn:
        self._concrete("the pickle", _RETURN_IT)

    def __getattr__(self, name: str) -> NoReturn:
        if name[0] != "_" and hasattr(np.ndarray, name):
            instead = _INSTEAD.get(name)
            raise NKIPyAttributeError(
                f"ndarray.{name} has no traced counterpart"
                + (f"; {instead}" if instead else ""),
                location=caller_location(),
            )
        if name[0] == "_":  # asked for by Python and libraries
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")
        text = f"a traced array has no attribute {name!r}, and neither has an ndarray"
        if name in OPS:
            text += f"; nkipy.core.ops.{name} is a function: call it with the array"
        raise NKIPyAttributeError(
            text,
            op=f"ndarray.{name}",
            received=describe_call((self,), {}),
            location=caller_location(),
        )

    @property
    def flat(self) -> NoReturn:
        """It can be stored to, not read."""
        self.__getattr__("flat")

    @flat.setter
    def flat(self, value: Any) -> None:
        """As NumPy's: the elements in order, the values again and again."""
        self[...] = np.resize(value, self.shape)
