"""Tests of the whole exchange with real processes, sockets and PostgreSQL."""
