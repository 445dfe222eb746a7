"""Its only application."""
