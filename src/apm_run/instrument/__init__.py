"""The engine: the vocabulary of instrumentations, the one wrapper, the import hook, the registry."""
