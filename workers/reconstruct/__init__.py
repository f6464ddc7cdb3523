"""Photos, masks and cameras in; a textured mesh out."""
