"""A start that is measured is a start: the engine served, and said why where it did not."""

from pathlib import Path

import pytest

from loadtest import bench_start


@pytest.mark.slow
def test_the_engine_serves_and_is_stopped_again(tmp_path: Path) -> None:
    result = bench_start.measure(tmp_path / "data", rounds=1)

    assert result["engine_s"] > result["import_numba_s"] > 0
    assert result["above_import_s"] == result["each_above_import_s"][0]
    assert (tmp_path / "data" / "engine").is_dir()
    assert "above a bare import" in bench_start.lines(result)[0]


@pytest.mark.slow
def test_an_engine_that_does_not_start_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECONG_LOG_SEGMENT_MIB", "many")

    with pytest.raises(bench_start.StartError, match="LECONG_LOG_SEGMENT_MIB"):
        bench_start.start_engine(tmp_path)
