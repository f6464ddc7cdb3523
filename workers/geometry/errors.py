"""The one error of the numeric code."""

from __future__ import annotations


class NumericError(ValueError):
    """Input that no algorithm can use.

    code: a key of contracts/errors.json, which holds the sentence for the user.
    message: a plain sentence for whoever runs this code, and its text.
    params: the numbers and names that the user's sentence quotes, JSON values only.
    """

    def __init__(self, code: str, message: str, **params: object) -> None:
        super().__init__(message)
        self.code = code
        self.params = params
