"""The exchange under load: traders, the demo of July 2015 and the benchmarks."""
