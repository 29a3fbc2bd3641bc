"""The compiled core: free functions over NumPy arrays, the only place where numba is imported."""
