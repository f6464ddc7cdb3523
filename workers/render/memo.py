"""What is derived from a tensor, kept as long as the tensor lives unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

T = TypeVar("T")


class Memo(Generic[T]):
    """A function of one tensor that computes each value once."""

    def __init__(self, make: Callable[[Tensor], T]) -> None:
        self._make = make
        self._kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def __call__(self, tensor: Tensor) -> T:
        if tensor not in self._kept or self._kept[tensor][0] != tensor._version:
            self._kept[tensor] = (tensor._version, self._make(tensor))
        value: T = self._kept[tensor][1]
        return value
