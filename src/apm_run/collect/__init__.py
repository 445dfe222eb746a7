"""What is read from the process and its host."""
