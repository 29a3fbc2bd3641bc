"""The whole exchange in one process from one seed: production objects on a simulated machine (reliability)."""
