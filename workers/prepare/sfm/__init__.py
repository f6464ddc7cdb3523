"""Structure from motion: cameras and sparse points from photos alone. `estimate` is the whole of it.

features -> pairs worth matching -> matches -> the strongest of them, mapped -> all that agree with that,
mapped.
"""
