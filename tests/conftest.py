"""What every test may ask for."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def lecong_shared() -> Path:
    """The shared folder with the yardstick and the workloads (LECONG_SHARED, default ../shared)."""
    shared = Path(os.environ.get("LECONG_SHARED") or Path(__file__).parents[2] / "shared")
    if not (shared / "bench").is_dir():
        pytest.skip(f"no bench folder below {shared}: set LECONG_SHARED to the shared folder")
    return shared
