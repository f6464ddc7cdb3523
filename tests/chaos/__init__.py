"""Whether the README's promise holds while everything fails at once: `python -m tests.chaos --help`.

A driver sends captures through worker processes on a real RabbitMQ and a real S3, of which the workers see
only what a proxy lets through, and breaks things meanwhile. A checker then compares what came out with what
went in.
"""
