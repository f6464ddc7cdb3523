"""Industrial-looking parts and pictures of them, as many as one likes: what a network is taught with."""
