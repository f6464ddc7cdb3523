"""Neural networks, whoever uses them: their weights as files, fetched by hand and verified before each use;
and what loads and runs them."""
