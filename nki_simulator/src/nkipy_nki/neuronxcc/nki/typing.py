"""``neuronxcc.nki.typing``: annotations of what a kernel takes and returns."""

from __future__ import annotations

from typing import Any

__all__ = ["immutable", "mutable", "mutable_tensor", "tensor"]


class _Annotation:
    """An annotation, which a shape may follow in brackets."""

    def __init__(self, name: str, is_mutable: bool) -> None:
        self.name = name
        self.is_mutable = is_mutable

    def __getitem__(self, shape: Any) -> _Annotation:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> _Annotation:
        return self

    def __repr__(self) -> str:
        return f"nki.typing.{self.name}"


#: A tensor.
tensor = _Annotation("tensor", False)
#: A tensor that the kernel may write.
mutable_tensor = _Annotation("mutable_tensor", True)
#: The same.
mutable = _Annotation("mutable", True)
#: A tensor that it may not.
immutable = _Annotation("immutable", False)
