"""Seeded worlds in virtual time: servers, workers and clients in one thread, faults, and what must hold."""
