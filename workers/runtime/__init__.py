"""The shell every worker shares: the seven steps of a job, and what they stand on."""
