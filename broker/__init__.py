"""Moving events: one interface, a RabbitMQ and an in-process implementation, topology as data."""
