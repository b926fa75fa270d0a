"""What a configuration is written in: one module for each format."""
