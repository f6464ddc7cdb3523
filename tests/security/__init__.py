"""No input harms us: attacks that are known, and mutations of what is valid."""
