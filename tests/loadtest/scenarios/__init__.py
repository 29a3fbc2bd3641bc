"""Tests of the planned days."""
