"""The whole exchange in one process from one seed: production objects, simulated machine (proof 1)."""
