"""What the model is worth, for people: figures, pictures and plain words on one page."""
