"""The one error of the numeric code."""

from __future__ import annotations


class NumericError(ValueError):
    """Input that no algorithm can use.

    code: a stable name, which the worker's shell maps to a sentence for the user.
    params: the numbers and names that sentence may quote, JSON values only.
    """

    def __init__(self, code: str, **params: object) -> None:
        super().__init__(f"{code}: {params}" if params else code)
        self.code = code
        self.params = params
