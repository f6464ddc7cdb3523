"""How the network of method `single-view` is trained and judged: shapes, their pictures and points, labels,
and what it is compared with. Numeric: knows no broker and no event.
"""
