"""The tests, mirrored by package."""
