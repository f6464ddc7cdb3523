"""How good a model is: its surface, its looks on held-out views and its materials, against the truth."""
