"""A worker whose computation does what the test tells it to."""
