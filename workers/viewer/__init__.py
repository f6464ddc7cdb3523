"""The page that shows a model from all sides: no library, no server, no network."""
