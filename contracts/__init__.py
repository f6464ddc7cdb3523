"""What crosses a boundary: events, their envelope, the object layout, and the error codes.

Imports nothing else of phototwin, so that a client can depend on this package alone.
"""
