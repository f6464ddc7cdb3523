"""What a surface of known shape is made of, and the light it was photographed in. Shared by methods."""
