"""The epoch: one number per start of the engine, by which readers notice an older data folder."""

from typing import Final

from engine.blocks import CorruptLogError, LogFullError
from engine.disk import NO_SPACE, Disk

EPOCH_MAX: Final = (1 << 32) - 1


def next_epoch(disk: Disk, of_log: int) -> int:
    """One number per engine start, higher than any before, on the medium before anything is sequenced. Raises
    LogError, OSError.
    """
    stored = disk.open("epoch").read(0, 32).strip() if "epoch" in disk.names() else b"0"
    if not stored.isdigit() or int(stored) >= EPOCH_MAX:
        raise CorruptLogError(
            f"the file epoch says {stored!r}; write a number into it that is at least {of_log} and that no "
            f"client has seen exceeded, below {EPOCH_MAX}"
        )
    epoch = max(int(stored), of_log) + 1
    try:
        disk.replace("epoch", f"{epoch}\n".encode())
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise LogFullError(
            f"no space to start ({error}); free some, or set LECONG_DATA to another disk"
        ) from error
    return epoch
