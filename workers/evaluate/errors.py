"""The one error of the evaluation."""


class CannotEvaluate(ValueError):
    """A model or a truth that lacks what a figure needs, in one plain sentence."""
